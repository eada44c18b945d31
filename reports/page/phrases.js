"use strict";
// Texts that the report makes, in Chinese: notes by their template, and the names and units of metrics. In English
// they are printed as they come. A text without a translation, such as the name of a user's own metric, stays.
EChat.phrases = EChat.bare({
  "{metric}, share of the way from a system that ignores the voice ({chance}) to {ceiling}, 95 % interval (Fieller by task):": "{metric}:从不理会声音的系统({chance})到 {ceiling} 之间所达到的比例,95% 区间(各任务用 Fieller 方法):",
  "tasks only": "仅按任务",
  "{share} on average": "平均 {share}",
  "{count} missing scores are left out, and no bound covers them": "{count} 个缺失的分数未计入,也没有界限涵盖它们",
  "undefined": "无定义",
  "{value} (no interval)": "{value}(无区间)",
  "{value} (no spread)": "{value}(无离散)",
  "no": "否",
  "yes": "是",
  "not shown": "未能证实",
  "{names}: validated against people: {answer}": "{names}:是否经人工评分检验:{answer}",
  "\"all\"": "“全部任务”",
  "\"all\" of match rates": "匹配率的“全部任务”",
  "Unfinished run: {what}. Every number is of the replies that are there; run the same command to finish it.": "运行未完成:{what}。所有数值只基于已有的回复;再次运行同一命令即可完成。",
  "Samples whose only cues are age and gender (in {tasks}) are not in {all}: a reply that suits these may be a stereotype.": "仅有年龄和性别线索的样本(在 {tasks} 中)不计入{all}:迎合这些线索的回复可能出于刻板印象。",
  "Reacting to the voice is not helping: nothing in this run measures the quality of the replies. Add a judge (--judge) or people (echat-eval rate).": "对声音有反应并不等于有帮助:本次运行没有衡量回复的质量。请加入评判模型(--judge)或人工评分(echat-eval rate)。",
  "\"-\" in {metrics}: {why}": "{metrics} 中的“-”:{why}",
  "\"-\" in {metrics} of {tasks}: {why}": "{tasks} 的 {metrics} 中的“-”:{why}",
  "not applicable": "不适用",
  "no contrast groups": "没有对比组",
  "no contrast groups; a judge needs none: --judge MODEL": "没有对比组;评判模型不需要对比组:--judge MODEL",
  "Listening gap: of two voices with the same words, which one has this label? Asked: the system's answers to `run --ask`. Matched: its replies. Both are 50 % if it ignores the voice; a gap above 0 is what it can name and does not act on.": "听与说的差距:同样的话用两种声音说出,哪一个带有该标签?被问时:系统对 `run --ask` 的回答。回复中:它的回复。若不理会声音,两者均为 50%;差距大于 0,表示能说出却没有体现在回复中的部分。",
  "Normalised: both sides in percent of what can be reached above chance; for replies, what the replies that people wrote (`reference`) reach.": "归一化:两者均按高于随机水平的可达范围折算为百分数;对回复而言,可达范围是人工撰写的回复(`reference`)所达到的水平。",
  "Words against voice: groups whose words suggest a label by themselves (`words_suggest`), so that some voice speaks against them; they are in no other row.": "话与声音相悖:话本身就暗示某个标签的组(`words_suggest`),因此总有某种声音与之相悖;这些组不在其他行中。",
  "Listening gap of {name}: unknown; {why}": "{name} 的听与说的差距:未知;{why}",
  "Listening gap, samples left out, because they were not asked about or were compared also with a voice that has the same label: {counts}": "听与说的差距中未计入的样本,因为没有被问到,或还与标签相同的声音作了比较:{counts}",
  "Exact turns: the client ends the turn where the recording ends (turn=commit).": "精确轮次:客户端在录音结束处结束该轮(turn=commit)。",
  "Server VAD: the server detects the end of the turn (turn=vad); the pause that it needs is part of these times.": "服务器语音检测:由服务器检测该轮的结束(turn=vad);它所需的停顿计入这些时间。",
  "Whole requests: the system gets the recording at once, as a request.": "整体请求:系统一次得到整段录音,作为一个请求。",
  "n: replies with a time. Audio, audible: the first sample, and the first audible one. Trip: the network's round trip, part of these times. Breaks: replies that the system began and broke off before these.": "n:有计时的回复。首段音频与首个可听声:第一个采样,以及第一个可听见的采样。网络往返:计入这些时间。中断:系统在此之前开始又中断的回复。",
  "{low} to {high}": "{low} 至 {high}",
  " (floor)": "(下限)",
  " (ceiling)": "(上限)",
  "{judge} has not passed `check judge --listens`: the result in this folder is of {other}, these scores are of {server}; {command}": "{judge} 未通过 `check judge --listens`:此文件夹中的结果属于 {other},而这些分数来自 {server};{command}",
  "{judge} has not been put to `check judge --listens`: its scores of voices may not rank systems; {command}": "{judge} 尚未经 `check judge --listens` 检验:它对声音的评分不得用于排名;{command}",
  "{judge} has passed `check judge --listens`: {result}": "{judge} 已通过 `check judge --listens`:{result}",
  "{judge} has not passed `check judge --listens`: its scores of voices may not rank systems; {why}": "{judge} 未通过 `check judge --listens`:它对声音的评分不得用于排名;{why}",
});
// Titles of metrics; a judge's have its name in them.
EChat.titles = [
  [/^Match rate \(proxy\)$/, "匹配率(替代)"], [/^Cue contrast \(proxy\)$/, "线索对比(替代)"], [/^Over-reaction \(proxy\)$/, "过度反应(替代)"],
  [/^Similarity to references \(proxy\)$/, "与参考回复的相似度(替代)"],
  [/^Voice match \(experimental\)$/, "声音匹配(试验性)"], [/^Cue contrast$/, "线索对比"], [/^ASR WER$/, "语音识别词错误率"], [/^ASR CER$/, "语音识别字错误率"],
  [/^WAR$/, "加权准确率(WAR)"], [/^UAR$/, "未加权平均召回率(UAR)"], [/^Failed$/, "失败"], [/^Seconds$/, "用时"],
  [/^Reply WER$/, "回复词错误率"], [/^Reply CER$/, "回复字错误率"], [/^Empty reply$/, "空回复"], [/^Unreadable reply$/, "无法辨认的回复"], [/^People$/, "人工评分"],
  [/^Judge (.+), voice$/, "评判 $1,声音"], [/^Judge (.+), all turns$/, "评判 $1,全部轮次"], [/^Judge's cue contrast$/, "评判的线索对比"],
  [/^Judge (.+), cue contrast$/, "评判 $1,线索对比"], [/^(.+) match rate of recordings$/, "$1 匹配率(录音)"], [/^(.+) match rate$/, "$1 匹配率"],
  [/^(.+) over-reaction$/, "$1 过度反应"], [/^Judge (.+)$/, "评判 $1"],
];
EChat.units = EChat.bare({ points: "分", s: "秒", words: "词", "0 to 100": "0 至 100" });
// A value that is the title of a metric or the name of a task is printed as everywhere on the page.
EChat.leaf = (text) => {
  if (EChat.tongue !== "zh") return text;
  const metric = EChat.board.metrics.find((m) => m.title === text);
  const task = EChat.board.tasks.find((entry) => entry.name === text);
  return metric ? EChat.metricName(metric) : task ? EChat.taskTitle(task) : text;
};
EChat.phrase = (text) => {
  if (text === null || typeof text !== "object") return EChat.leaf(text);
  const template = EChat.tongue === "zh" ? EChat.phrases[text.say] || text.say.replaceAll("} and {", "}和{") : text.say;
  return EChat.fill(template, Object.fromEntries(Object.entries(text.with).map(([name, value]) => [name, EChat.phrase(value)])));
};
EChat.metricName = (metric) => {
  const known = EChat.tongue === "zh" && EChat.titles.find(([pattern]) => pattern.test(metric.title));
  return known ? metric.title.replace(known[0], known[1]) : metric.title;
};
EChat.metricTitle = (metric) => {
  const unit = (EChat.tongue === "zh" && EChat.units[metric.unit]) || metric.unit;
  return unit ? `${EChat.metricName(metric)} (${unit})` : EChat.metricName(metric);
};
