"""Languages by BCP 47 tag: checking and writing of tags, names, matching, and the unit of error rates.

Tags are checked by the grammar of RFC 5646 and written in its form (language lower case, Script, REGION). A
language has its two-letter code if there is one: "deu" and "ger" become "de".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ERROR_RATES",
    "TAG_EXPECTED",
    "base_of",
    "error_rate_of",
    "language_name",
    "language_tag",
    "lookup",
    "supports",
]

#: Error rates of words, and of characters.
ERROR_RATES = ("wer", "cer")
#: Form of a tag, for messages.
TAG_EXPECTED = "a BCP 47 tag such as en, de, ja or pt-BR"

_TAG = re.compile(
    r"(?P<language>[a-z]{2,3})(?:-[a-z]{3}){0,3}(?:-(?P<script>[a-z]{4}))?(?:-(?P<region>[a-z]{2}|\d{3}))?"
    r"(?:-(?:[a-z0-9]{5,8}|\d[a-z0-9]{3}))*(?:-[a-wyz0-9](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?"
)
MAX_TAG_CHARACTERS = 35

#: Codes with a shorter or newer form (CLDR).
_CODE_PAIRS = """
    in>id iw>he ji>yi jw>jv mo>ro aar>aa abk>ab adp>dz afr>af aka>ak alb>sq als>sq amh>am ara>ar arb>ar
    arg>an arm>hy asm>as ava>av ave>ae aym>ay ayr>ay aze>az azj>az bak>ba bam>bm baq>eu bel>be ben>bn
    bis>bi bod>bo bos>bs bre>br bul>bg bur>my cat>ca ces>cs cha>ch che>ce chi>zh chu>cu chv>cv cls>sa
    cmn>zh cor>kw cos>co cre>cr cwd>cr cym>cy cze>cs dan>da deu>de div>dv drh>mn dut>nl dzo>dz ekk>et
    ell>el eng>en epo>eo esk>ik est>et eus>eu ewe>ee fao>fo fas>fa fat>ak fij>fj fin>fi fra>fr fre>fr
    fry>fy fuc>ff ful>ff gaz>om geo>ka ger>de gla>gd gle>ga glg>gl glv>gv gre>el grn>gn gug>gn guj>gu
    hat>ht hau>ha heb>he her>hz hin>hi hmo>ho hrv>hr hun>hu hye>hy ibo>ig ice>is ido>io iii>ii ike>iu
    iku>iu ile>ie ina>ia ind>id ipk>ik isl>is ita>it jav>jv jaw>jv jpn>ja kal>kl kan>kn kas>ks kat>ka
    kau>kr kaz>kk khk>mn khm>km kik>ki kin>rw kir>ky kmr>ku knc>kr kng>kg kom>kv kon>kg kor>ko kpv>kv
    kua>kj kur>ku lao>lo lat>la lav>lv lim>li lin>ln lit>lt ltz>lb lub>lu lug>lg lvs>lv mac>mk mah>mh
    mal>ml mao>mi mar>mr may>ms mkd>mk mlg>mg mlt>mt mol>ro mon>mn mri>mi msa>ms mya>my nau>na nav>nv
    nbl>nr nde>nd ndo>ng nep>ne nld>nl nno>nn nob>nb nor>no npi>ne nya>ny oci>oc ojg>oj oji>oj ori>or
    orm>om ory>or oss>os pan>pa pbu>ps per>fa pes>fa pli>pi plt>mg pol>pl por>pt prp>gu pus>ps que>qu
    quz>qu roh>rm ron>ro rum>ro run>rn rus>ru sag>sg san>sa scc>sr scr>hr sin>si slk>sk slo>sk slv>sl
    sme>se smo>sm sna>sn snd>sd som>so sot>st spa>es sqi>sq src>sc srd>sc srp>sr ssw>ss sun>su swa>sw
    swe>sv swh>sw tah>ty tam>ta tat>tt tel>te tgk>tg tha>th tib>bo tir>ti ton>to tsn>tn tso>ts tuk>tk
    tur>tr twi>ak uig>ug ukr>uk urd>ur uzb>uz uzn>uz ven>ve vie>vi vol>vo wel>cy wln>wa wol>wo xho>xh
    ydd>yi yid>yi yor>yo zha>za zho>zh zsm>ms zul>zu zyb>za
"""
_CODES = {old: new for old, _, new in (pair.partition(">") for pair in _CODE_PAIRS.split())}
#: English names (CLDR).
_NAME_PAIRS = """
    aa Afar; ab Abkhazian; af Afrikaans; ak Akan; am Amharic; an Aragonese; ar Arabic; as Assamese; ast
    Asturian; ay Aymara; az Azerbaijani; ba Bashkir; be Belarusian; bg Bulgarian; bho Bhojpuri; bm
    Bambara; bn Bengali; bo Tibetan; br Breton; bs Bosnian; ca Catalan; ce Chechen; ceb Cebuano; chr
    Cherokee; ckb Central Kurdish; co Corsican; cs Czech; cv Chuvash; cy Welsh; da Danish; de German;
    doi Dogri; dv Divehi; dz Dzongkha; ee Ewe; el Greek; en English; eo Esperanto; es Spanish; et
    Estonian; eu Basque; fa Persian; ff Fulah; fi Finnish; fil Filipino; fj Fijian; fo Faroese; fr
    French; fy Western Frisian; ga Irish; gd Scottish Gaelic; gl Galician; gn Guarani; gsw Swiss German;
    gu Gujarati; ha Hausa; hak Hakka Chinese; haw Hawaiian; he Hebrew; hi Hindi; hmn Hmong; hr Croatian;
    ht Haitian Creole; hu Hungarian; hy Armenian; ia Interlingua; id Indonesian; ig Igbo; ii Sichuan Yi;
    ilo Iloko; is Icelandic; it Italian; iu Inuktitut; ja Japanese; jv Javanese; ka Georgian; ki Kikuyu;
    kk Kazakh; kl Kalaallisut; km Khmer; kn Kannada; ko Korean; kok Konkani; kri Krio; ku Kurdish; ky
    Kyrgyz; la Latin; lb Luxembourgish; lg Ganda; ln Lingala; lo Lao; lt Lithuanian; lu Luba-Katanga;
    lus Mizo; lv Latvian; mai Maithili; mg Malagasy; mi Māori; mk Macedonian; ml Malayalam; mn
    Mongolian; mni Manipuri; mr Marathi; ms Malay; mt Maltese; my Burmese; nan Min Nan Chinese; nb
    Norwegian Bokmål; ne Nepali; nl Dutch; nn Norwegian Nynorsk; no Norwegian; nso Northern Sotho; ny
    Nyanja; oc Occitan; om Oromo; or Odia; os Ossetic; pa Punjabi; pl Polish; ps Pashto; pt Portuguese;
    qu Quechua; rm Romansh; rn Rundi; ro Romanian; ru Russian; rw Kinyarwanda; sa Sanskrit; sc
    Sardinian; sd Sindhi; se Northern Sami; sg Sango; si Sinhala; sk Slovak; sl Slovenian; sm Samoan; sn
    Shona; so Somali; sq Albanian; sr Serbian; ss Swati; st Southern Sotho; su Sundanese; sv Swedish; sw
    Swahili; ta Tamil; te Telugu; tg Tajik; th Thai; ti Tigrinya; tk Turkmen; tn Tswana; to Tongan; tpi
    Tok Pisin; tr Turkish; ts Tsonga; tt Tatar; tw Twi; ty Tahitian; ug Uyghur; uk Ukrainian; ur Urdu;
    uz Uzbek; ve Venda; vi Vietnamese; wa Walloon; wo Wolof; wuu Wu Chinese; xh Xhosa; yi Yiddish; yo
    Yoruba; yue Cantonese; za Zhuang; zh Chinese; zu Zulu
"""
_NAMES = {
    code: name for code, _, name in (" ".join(pair.split()).partition(" ") for pair in _NAME_PAIRS.split(";"))
}
#: Scripts without spaces between words: error rates count characters.
_WITHOUT_SPACES = frozenset(
    ("Hani", "Hans", "Hant", "Hira", "Kana", "Hrkt", "Jpan", "Thai", "Laoo", "Khmr", "Mymr", "Tibt")
)
#: Usual script of the languages that are written in one of them.
_SCRIPTS = {
    **dict.fromkeys(("zh", "yue", "wuu", "hak", "gan", "hsn"), "Hani"),
    "ja": "Jpan", "th": "Thai", "lo": "Laoo", "km": "Khmr", "my": "Mymr", "bo": "Tibt", "dz": "Tibt",
}  # fmt: skip


def language_tag(text: object) -> str | None:
    """Return a tag in its usual form; None if it is no BCP 47 tag.

    >>> language_tag("EN"), language_tag("zh_hant-tw"), language_tag("deu"), language_tag("german")
    ('en', 'zh-Hant-TW', 'de', None)
    """
    if not isinstance(text, str) or not text.isascii() or len(text) > MAX_TAG_CHARACTERS:
        return None
    plain = text.strip().lower().replace("_", "-")
    found = _TAG.fullmatch(plain)
    if found is None:
        return None
    parts = plain.split("-")
    parts[0] = _CODES.get(parts[0], parts[0])
    if found["script"]:
        place = parts.index(found["script"], 1)
        parts[place] = found["script"].title()
    if found["region"]:
        place = parts.index(found["region"], 1)
        parts[place] = found["region"].upper()
    return "-".join(parts)


def base_of(tag: str) -> str:
    """Return the language of a tag without script and region.

    >>> base_of("pt-BR"), base_of("ja")
    ('pt', 'ja')
    """
    return tag.partition("-")[0]


def lookup(tag: str, known: Iterable[str | None]) -> str | None:
    """Return the closest of some tags that covers a tag, dropping its parts from the end; None: none does.

    >>> lookup("zh-Hant-TW", ["en", "zh"]), lookup("zh", ["zh-Hant"])
    ('zh', None)
    """
    found = set(known)
    parts = tag.split("-")
    while parts:
        if "-".join(parts) in found:
            return "-".join(parts)
        parts.pop()
    return None


def supports(languages: Iterable[str], tag: str) -> bool:
    """Return whether declared languages cover a tag: "en" covers "en-GB".

    >>> supports(("en", "zh"), "en-GB"), supports(("en",), "de")
    (True, False)
    """
    return lookup(tag, languages) is not None


def language_name(tag: str) -> str:
    """Return the English name of a language, with its tag if that has more to state.

    >>> language_name("ja"), language_name("pt-BR"), language_name("qaa")
    ('Japanese', 'Portuguese (pt-BR)', 'the language with the tag qaa')
    """
    name = _NAMES.get(base_of(tag))
    if name is None:
        return f"the language with the tag {tag}"
    return name if base_of(tag) == tag else f"{name} ({tag})"


def error_rate_of(tag: str) -> Literal["wer", "cer"]:
    """Return "cer" for languages whose script has no spaces between words, else "wer".

    >>> error_rate_of("en"), error_rate_of("ja"), error_rate_of("zh-Latn"), error_rate_of("hi")
    ('wer', 'cer', 'wer', 'wer')
    """
    found = _TAG.fullmatch(tag.lower())
    script = found["script"].title() if found and found["script"] else _SCRIPTS.get(base_of(tag))
    return "cer" if script in _WITHOUT_SPACES else "wer"
