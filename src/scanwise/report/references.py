"""What the methods text may cite, as structured entries; how they are written on a page and in BibTeX."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["article", "book", "incollection", "inproceedings", "misc"]


@dataclass(frozen=True)
class Reference:
    """One source.

    Attributes
    ----------
    key : of the BibTeX entry, letters and digits.
    kind : type of the BibTeX entry.
    authors : ``(family name, initials)``.
    others : whether there are more authors than are listed.
    venue : journal, or book that the work is in.
    """

    key: str
    kind: Kind
    authors: tuple[tuple[str, str], ...]
    title: str
    year: int | None = None
    venue: str = ""
    volume: str = ""
    number: str = ""
    pages: str = ""
    publisher: str = ""
    doi: str = ""
    others: bool = False

    @property
    def text(self) -> str:
        """The source as it stands in a list of references (Vancouver style)."""
        names = ", ".join(f"{family} {initials}".strip() for family, initials in self.authors)
        if self.others:
            names += ", et al"
        title = self.title if self.title.endswith((".", "!", "?")) else f"{self.title}."
        if self.kind == "misc":
            return self.title
        volume = f";{self.volume}" if self.volume else ""
        pages = f":{self.pages}" if self.pages else ""
        year = "" if self.year is None else f" {self.year}"
        where = f"{'In: ' if self.kind in ('incollection', 'inproceedings') else ''}{self.venue or self.publisher}"
        doi = f" doi:{self.doi}" if self.doi else ""
        return f"{names}. {title} {where}{year}{volume}{pages}.{doi}"

    @property
    def bibtex(self) -> str:
        """The BibTeX entry; every text in it is escaped."""
        names = " and ".join([", ".join(part for part in name if part) for name in map(_spaced, self.authors)])
        if self.others:
            names += " and others"
        container = "journal" if self.kind == "article" else "booktitle"
        fields = {
            "author": latex(names),
            "title": f"{{{latex(self.title)}}}",  # braces keep capitals as they are
            container: latex(self.venue),
            "publisher": latex(self.publisher),
            "year": "" if self.year is None else str(self.year),
            "volume": latex(self.volume),
            "number": latex(self.number),
            "pages": latex(self.pages).replace("-", "--"),
            "doi": latex(self.doi),
            "key": "" if self.authors else self.key,  # to sort by
        }
        lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value and value != "{}"]
        return f"@{self.kind}{{{self.key},\n" + ",\n".join(lines) + "\n}\n"


def free_text(key: str, text: str) -> Reference:
    """Return the entry of a source that is known as free text only, e.g. the citation of a cohort."""
    return Reference(key, "misc", (), " ".join(text.split()))


def bibliography(references: Iterable[Reference]) -> str:
    """Return BibTeX entries, sorted by key."""
    return "\n".join(reference.bibtex for reference in sorted(references, key=lambda reference: reference.key))


def latex(text: str) -> str:
    """Return text that LaTeX sets as it is: one line, every special sign escaped, braces balanced.

    Signs that control the direction or are invisible are left out; letters of other scripts stay.
    """
    found = []
    for sign in unicodedata.normalize("NFC", _BLANKS.sub(" ", str(text)).strip(" ")):
        category = unicodedata.category(sign)
        if sign in _LATEX:
            found.append(_LATEX[sign])
        elif category.startswith("C"):  # control, format (direction), private, not assigned
            continue
        elif unicodedata.decomposition(sign).startswith(("<super>", "<sub>")):
            kind, *codes = unicodedata.decomposition(sign).split()
            inside = "".join(_LATEX.get(chr(int(code, 16)), chr(int(code, 16))) for code in codes)
            found.append(f"\\text{'super' if kind == '<super>' else 'sub'}script{{{inside}}}")
        else:
            found.append(sign)
    written = "".join(found)
    for pair in ("--", "''", ",,", "?`", "!`"):  # LaTeX would draw one sign
        while pair in written:
            written = written.replace(pair, "{}".join(pair))
    return written.replace(_DASH, "--").replace(_QUOTE, "''")


def _spaced(name: tuple[str, str]) -> tuple[str, str]:
    """Return a name with full stops behind its initials, as BibTeX wants them: ``("DeLong", "E. R.")``."""
    family, initials = name
    return family, " ".join(f"{initial}." for initial in initials)


_BLANKS = re.compile(r"[ \t\n\r\f\v\x85\u2028\u2029]+")
"""What becomes one blank; narrow and non-breaking blanks stay what they are."""
_DASH, _QUOTE = "\0", "\1"
"""Stand for signs that are written as two, until pairs that came as text are taken apart."""
_LATEX = {
    "\\": "\\textbackslash{}",
    "{": "\\textbraceleft{}",  # not \{, which BibTeX counts as a brace
    "}": "\\textbraceright{}",
    "$": "\\$",
    "&": "\\&",
    "#": "\\#",
    "%": "\\%",
    "_": "\\_",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    "`": "\\textasciigrave{}",
    '"': _QUOTE,
    "\u00a0": "~",
    "\u2009": "\\,",
    "\u202f": "\\,",
    "\u2212": "$-$",
    "\u2010": "-",
    "\u2011": "-",
    "\u2013": _DASH,
    "\u2014": f"{_DASH}-",
    "\u2018": "\\textquoteleft{}",
    "\u2019": "'",
    "\u201c": "\\textquotedblleft{}",
    "\u201d": _QUOTE,
    "\u2026": "\\ldots{}",
    "\u00b7": "$\\cdot$",
    "\u00d7": "$\\times$",
    "\u00b1": "$\\pm$",
    "\u00b0": "$^\\circ$",
    "\u00b2": "\\textsuperscript{2}",
    "\u00b3": "\\textsuperscript{3}",
    "\u2264": "$\\leq$",
    "\u2265": "$\\geq$",
    "\u2248": "$\\approx$",
    "\u221a": "$\\surd$",
    "\u00a3": "\\pounds{}",
    "\u20ac": "\\texteuro{}",
    "\u00a5": "\\textyen{}",
    "\u00b5": "$\\mu$",
    **{
        chr(code): f"$\\{name}$"
        for code, name in {
            0x3B1: "alpha",
            0x3B2: "beta",
            0x3B3: "gamma",
            0x3B4: "delta",
            0x3B5: "varepsilon",
            0x3B8: "theta",
            0x3BA: "kappa",
            0x3BB: "lambda",
            0x3BC: "mu",
            0x3C0: "pi",
            0x3C1: "rho",
            0x3C3: "sigma",
            0x3C4: "tau",
            0x3C6: "varphi",
            0x3C7: "chi",
            0x3C9: "omega",
            0x394: "Delta",
            0x3A3: "Sigma",
            0x3A9: "Omega",
        }.items()
    },
}
"""Signs that LaTeX reads as something else, or that not every font has."""

AHN = Reference(
    "ahn2013",
    "article",
    (("Ahn", "S"), ("Park", "SH"), ("Lee", "KH")),
    "How to demonstrate similarity by using noninferiority and equivalence statistical testing in radiology research",
    2013,
    "Radiology",
    "267",
    "2",
    "328-338",
    doi="10.1148/radiol.12120725",
)
AKIBA = Reference(
    "akiba2019",
    "inproceedings",
    (("Akiba", "T"), ("Sano", "S"), ("Yanase", "T"), ("Ohta", "T"), ("Koyama", "M")),
    "Optuna: a next-generation hyperparameter optimization framework",
    2019,
    "Proceedings of the 25th ACM SIGKDD International Conference on Knowledge Discovery and Data Mining",
    pages="2623-2631",
    doi="10.1145/3292500.3330701",
)
BERGSTRA = Reference(
    "bergstra2011",
    "inproceedings",
    (("Bergstra", "J"), ("Bardenet", "R"), ("Bengio", "Y"), ("Kégl", "B")),
    "Algorithms for hyper-parameter optimization",
    2011,
    "Advances in Neural Information Processing Systems",
    "24",
    pages="2546-2554",
)
BREIMAN = Reference(
    "breiman1984",
    "book",
    (("Breiman", "L"), ("Friedman", "JH"), ("Olshen", "RA"), ("Stone", "CJ")),
    "Classification and regression trees",
    1984,
    publisher="Wadsworth",
)
CLAIM = Reference(
    "claim2024",
    "article",
    (
        ("Tejani", "AS"),
        ("Klontzas", "ME"),
        ("Gatti", "AA"),
        ("Mongan", "JT"),
        ("Moy", "L"),
        ("Park", "SH"),
        ("Kahn", "CE"),
    ),
    "Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 update",
    2024,
    "Radiology: Artificial Intelligence",
    "6",
    "4",
    "e240300",
    doi="10.1148/ryai.240300",
)
COCHRAN = Reference(
    "cochran1954",
    "article",
    (("Cochran", "WG"),),
    "The combination of estimates from different experiments",
    1954,
    "Biometrics",
    "10",
    "1",
    "101-129",
    doi="10.2307/3001666",
)
COLLINS = Reference(
    "collins2016",
    "article",
    (("Collins", "GS"), ("Ogundimu", "EO"), ("Altman", "DG")),
    "Sample size considerations for the external validation of a multivariable prognostic model: a resampling study",
    2016,
    "Statistics in Medicine",
    "35",
    "2",
    "214-226",
    doi="10.1002/sim.6787",
)
DEB = Reference(
    "deb2002",
    "article",
    (("Deb", "K"), ("Pratap", "A"), ("Agarwal", "S"), ("Meyarivan", "T")),
    "A fast and elitist multiobjective genetic algorithm: NSGA-II",
    2002,
    "IEEE Transactions on Evolutionary Computation",
    "6",
    "2",
    "182-197",
    doi="10.1109/4235.996017",
)
DELONG = Reference(
    "delong1988",
    "article",
    (("DeLong", "ER"), ("DeLong", "DM"), ("Clarke-Pearson", "DL")),
    "Comparing the areas under two or more correlated receiver operating characteristic curves: a nonparametric "
    "approach",
    1988,
    "Biometrics",
    "44",
    "3",
    "837-845",
    doi="10.2307/2531595",
)
GUO = Reference(
    "guo2017",
    "inproceedings",
    (("Guo", "C"), ("Pleiss", "G"), ("Sun", "Y"), ("Weinberger", "KQ")),
    "On calibration of modern neural networks",
    2017,
    "Proceedings of the 34th International Conference on Machine Learning",
    "70",
    pages="1321-1330",
)
HOLM = Reference(
    "holm1979",
    "article",
    (("Holm", "S"),),
    "A simple sequentially rejective multiple test procedure",
    1979,
    "Scandinavian Journal of Statistics",
    "6",
    "2",
    "65-70",
)
MAURER = Reference(
    "maurer1995",
    "incollection",
    (("Maurer", "W"), ("Hothorn", "LA"), ("Lehmacher", "W")),
    "Multiple comparisons in drug clinical trials and preclinical assays: a-priori ordered hypotheses",
    1995,
    "Biometrie in der chemisch-pharmazeutischen Industrie",
    "6",
    pages="3-18",
    publisher="Fischer",
)
TRIPOD = Reference(
    "tripodai2024",
    "article",
    (("Collins", "GS"), ("Moons", "KGM"), ("Dhiman", "P"), ("Riley", "RD"), ("Beam", "AL"), ("Van Calster", "B")),
    "TRIPOD+AI statement: updated guidance for reporting clinical prediction models that use regression or machine "
    "learning methods",
    2024,
    "BMJ",
    "385",
    pages="e078378",
    doi="10.1136/bmj-2023-078378",
    others=True,
)
VAN_CALSTER = Reference(
    "vancalster2019",
    "article",
    (
        ("Van Calster", "B"),
        ("McLernon", "DJ"),
        ("van Smeden", "M"),
        ("Wynants", "L"),
        ("Steyerberg", "EW"),
    ),
    "Calibration: the Achilles heel of predictive analytics",
    2019,
    "BMC Medicine",
    "17",
    "1",
    "230",
    doi="10.1186/s12916-019-1466-7",
)
VARMA = Reference(
    "varma2006",
    "article",
    (("Varma", "S"), ("Simon", "R")),
    "Bias in error estimation when using cross-validation for model selection",
    2006,
    "BMC Bioinformatics",
    "7",
    pages="91",
    doi="10.1186/1471-2105-7-91",
)
VICKERS = Reference(
    "vickers2006",
    "article",
    (("Vickers", "AJ"), ("Elkin", "EB")),
    "Decision curve analysis: a novel method for evaluating prediction models",
    2006,
    "Medical Decision Making",
    "26",
    "6",
    "565-574",
    doi="10.1177/0272989X06295361",
)
WESTFALL = Reference(
    "westfall2001",
    "article",
    (("Westfall", "PH"), ("Krishen", "A")),
    "Optimally weighted, fixed sequence and gatekeeper multiple testing procedures",
    2001,
    "Journal of Statistical Planning and Inference",
    "99",
    "1",
    "25-40",
    doi="10.1016/S0378-3758(01)00077-5",
)
WILSON = Reference(
    "wilson1927",
    "article",
    (("Wilson", "EB"),),
    "Probable inference, the law of succession, and statistical inference",
    1927,
    "Journal of the American Statistical Association",
    "22",
    "158",
    "209-212",
    doi="10.1080/01621459.1927.10502953",
)
REGISTRY: tuple[Reference, ...] = (
    AHN, AKIBA, BERGSTRA, BREIMAN, CLAIM, COCHRAN, COLLINS, DEB, DELONG, GUO, HOLM, MAURER, TRIPOD, VAN_CALSTER,
    VARMA, VICKERS, WESTFALL, WILSON,
)  # fmt: skip
"""Every source that scanwise itself cites."""
