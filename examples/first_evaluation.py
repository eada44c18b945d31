# %% [markdown]
# # A first evaluation
#
# Does a system respond to how people speak, not only to what they say? This notebook evaluates three
# systems on the demo split: one of your own, written below, and two floors that ignore the voice. It needs
# no key, no GPU and no network, and takes a few seconds. The demo split is synthetic speech: its numbers
# show how the harness works and rank no system.
#
# Open it as a notebook, or run `python examples/first_evaluation.py`.

# %%
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

import echat_eval as ev

# %% [markdown]
# ## Your own system
#
# A system is an object with a name, `respond`, `fingerprint` and `settings`. It receives the recording and
# its language, and no label or transcript. This one measures only how bright the voice is.


# %%
class BrightnessListener:
    """Replies with joy to a bright voice, and with comfort to any other.

    Args:
        threshold: zero crossings per second above which a voice is bright.
    """

    name = "listener"

    def __init__(self, threshold: float = 5000.0) -> None:
        self.threshold = threshold

    def respond(self, request: ev.Request) -> ev.Reply:
        """Return the reply to one recording."""
        samples, rate = soundfile.read(request.audio.path)
        crossings = np.count_nonzero(np.diff(np.sign(samples))) / (len(samples) / rate)
        text = "How wonderful, tell me more!" if crossings > self.threshold else "I am sorry. I am here."
        return ev.Reply(text=text)

    def fingerprint(self) -> str:
        """Return what identifies this version; change it when `respond` changes."""
        return "brightness-1"

    def settings(self) -> Mapping[str, object]:
        """Return the settings, which the run records."""
        return {"threshold": self.threshold}


# %% [markdown]
# ## Evaluate
#
# Systems are objects, names or specs. The listener speaks English only. The same call again makes only
# what is missing.

# %%
folder = TemporaryDirectory()
out = Path(sys.argv[1]) if len(sys.argv) == 2 else Path(folder.name) / "run"
systems = [BrightnessListener(), "canned", "repeats=echo"]
english = {"name": "emotion", "languages": ["en"], "limit": 8}
run = ev.evaluate(systems, tasks=english, annotators="acoustics", out=out)
print(run.systems, dict(run.states))

# %% [markdown]
# ## Leaderboard
#
# A notebook shows a table; `to_frame()` has the numbers.

# %%
print(run.leaderboard())
frame = run.leaderboard().to_frame()
headline = frame["metric"].iloc[0]
rows = frame[(frame["task"] == "all") & (frame["metric"] == headline)]
print(rows[["system", "value", "low", "high", "n"]])

# %% [markdown]
# ## Rows
#
# Every response and score is a row with its state, the labels of its sample and its cluster.

# %%
print(run.responses()[["system", "sample_id", "state", "text", "cue_emotion"]].head(4))
print(run.scores().groupby(["system", "metric", "state"], sort=False).size())

# %% [markdown]
# ## Compare
#
# Differences are paired by sample. Intervals are over clusters: samples with the same words or speaker vary
# together.

# %%
print(ev.compare(f"{out}:canned", f"{out}:listener", metrics=headline))

# %% [markdown]
# ## Gate
#
# May the candidate replace the baseline? Eight samples are too few to tell, and the gate reports that.

# %%
decision = ev.gate(f"{out}:listener", f"{out}:canned", {"margin": 5, "metrics": {headline: {}}})
print(decision.outcome, "because", *decision.reasons[:1])
folder.cleanup()
