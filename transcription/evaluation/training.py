"""Learning the weights of ``transcription.fields.ranking`` from the development calls of a corpus.

``python -m transcription.evaluation.training tests/corpus/duty_calls`` writes ``config/vocabulary/ranking.json`` and
prints the accuracy by cross-validation. Calls of the test part are left out, so that no weight can come from them. The
model is a conditional logit: one option of each call, or none, is right, and the log of its chance is raised by
gradient steps under an L2 penalty.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transcription.evaluation.corpus import GoldCall, read_corpus
from transcription.evaluation.fieldscore import same_value, wanted_value
from transcription.fields.extract import ranked_counts, ranked_options
from transcription.fields.figures import FATES
from transcription.fields.kinds import call_kind, class_hits, class_options
from transcription.fields.ranking import Weights, chances
from transcription.fields.reading import turns
from transcription.lexicon import Lexicon, load_lexicon

RANKED = ("unit", "time", "place", "phone")
"""In this order, since the place is chosen knowing the unit."""
_STEPS = 400
_FOLDS = 8
_PENALTY = 0.02
_PENALTIES = {"time": 0.01, "class": 0.005}
"""By cross-validation over the development calls."""
_SEEN = 3
"""A feature that fewer calls show is not learnt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """The features of each option of one call for one field, of none last; which are right."""

    call_id: str
    options: tuple[frozenset[str], ...]
    right: frozenset[int]


def examples(calls: Iterable[GoldCall], field: str, lexicon: Lexicon, weights: dict[str, Weights]) -> list[Example]:
    """One example for each development call. Where no option is right, that there is none is the best answer."""
    made = []
    for call in calls:
        if call.part != "dev":
            continue
        found = ranked_options(turns(call.transcript()), lexicon, called_at=call.at, weights=weights)[field]
        wanted = wanted_value(call, field)
        right = {i for i, each in enumerate(found.options) if wanted and same_value(field, wanted, each.normalised)}
        options = (*(each.features for each in found.options), found.nothing)
        made.append(Example(call_id=call.call_id, options=options, right=frozenset(right or {len(found.options)})))
    return made


def count_examples(calls: Iterable[GoldCall], lexicon: Lexicon) -> list[Example]:
    """One example for each fate that is spoken of in a development call."""
    made = []
    for call in calls:
        if call.part != "dev":
            continue
        spoken = turns(call.transcript())
        shown = call_kind(spoken, lexicon.calls)
        counts = ranked_counts(spoken, shown.value if shown is not None else "event", {})
        for fate, (options, nothing, _) in counts.items():
            wanted = call.casualties.get(FATES[fate])
            right = {i for i, option in enumerate(options) if option.count == wanted}
            made.append(
                Example(
                    call_id=f"{call.call_id}:{fate}",
                    options=(*(option.features for option in options), nothing),
                    right=frozenset(right or {len(options)}),
                )
            )
    return made


def class_examples(calls: Iterable[GoldCall], lexicon: Lexicon) -> list[Example]:
    """One example for each development call that is an event: which of the nine classes it is."""
    made = []
    for call in calls:
        if call.part != "dev" or not call.event_class:
            continue
        spoken = turns(call.transcript())
        options = class_options(class_hits(spoken, lexicon), spoken, lexicon)
        right = [rule.number for rule in lexicon.calls.classes].index(call.event_class)
        made.append(Example(call_id=call.call_id, options=(*options, frozenset()), right=frozenset({right})))
    return made


def unbiased(known: Iterable[Example]) -> list[Example]:
    """``known`` without what the older rules say on calls that they were made from: their being right there shows
    nothing of how far they can be trusted."""
    return [
        each
        if each.call_id.startswith(_AFTER_THE_RULES)
        else replace(
            each,
            options=tuple(frozenset(one for one in option if not one.startswith("rule ")) for option in each.options),
        )
        for each in known
    ]


_AFTER_THE_RULES = ("blind2-", "blind3-")


def learn(known: Sequence[Example], *, penalty: float = _PENALTY) -> dict[str, float]:
    """Weights under which the right options of ``known`` are likely."""
    seen = Counter(feature for each in known for feature in frozenset().union(*each.options))
    names = sorted(feature for feature, count in seen.items() if count >= _SEEN)
    place = {name: column for column, name in enumerate(names)}
    rows = [(option, i) for i, each in enumerate(known) for option in each.options]
    shown = np.zeros((len(rows), len(names)))
    for row, (option, _) in enumerate(rows):
        shown[row, [place[feature] for feature in option if feature in place]] = 1.0
    call = np.array([i for _, i in rows])
    right = np.array([j in each.right for each in known for j in range(len(each.options))], dtype=float)
    weight = np.zeros(len(names))
    first, second = np.zeros(len(names)), np.zeros(len(names))
    for step in range(1, _STEPS + 1):
        slope = shown.T @ (_shares(shown @ weight, call, right) - _shares(shown @ weight, call)) / len(known)
        slope -= penalty * weight
        first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope**2
        weight += 0.05 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.99**step)) + 1e-8)
    return {name: round(float(value), 3) for name, value in zip(names, weight, strict=True) if abs(value) >= 0.0005}


def _shares(
    score: npt.NDArray[np.float64], call: npt.NDArray[np.int64], allowed: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.float64]:
    """Softmax of ``score`` within each call, over the ``allowed`` options only where these are given."""
    power = np.exp(score - score.max()) * (1.0 if allowed is None else allowed)
    total = np.bincount(call, weights=power).astype(np.float64)[call]
    return np.asarray(power / total, dtype=np.float64)


def accuracy(known: Sequence[Example], weights: Weights) -> list[bool]:
    """For each call whether what is likeliest is right."""
    right = []
    for each in known:
        found = chances(each.options[:-1], each.options[-1], weights)
        best = max([*enumerate(found), (len(found), 1 - sum(found))], key=lambda pair: pair[1])[0]
        right.append(best in each.right)
    return right


def crossed(known: Sequence[Example], penalty: float = _PENALTY) -> dict[str, bool]:
    """Whether each call comes out right under weights learnt from the others' folds."""
    found: dict[str, bool] = {}
    for fold in range(_FOLDS):
        held = [each for i, each in enumerate(known) if i % _FOLDS == fold]
        weights = learn([each for i, each in enumerate(known) if i % _FOLDS != fold], penalty=penalty)
        found |= dict(zip((each.call_id for each in held), accuracy(held, weights), strict=True))
    return found


def _known(field: str, calls: list[GoldCall], lexicon: Lexicon, weights: dict[str, Weights]) -> list[Example]:
    if field == "casualties":
        return unbiased(count_examples(calls, lexicon))
    return class_examples(calls, lexicon) if field == "class" else examples(calls, field, lexicon, weights)


def main(folder: str) -> None:
    """Learn from the corpus in ``folder``, print what cross-validation says, and write the weights."""
    calls, lexicon = read_corpus(Path(folder).glob("*.toml")), load_lexicon()
    weights: dict[str, Weights] = {}
    for field in (*RANKED, "casualties", "class"):
        known = _known(field, calls, lexicon, weights)
        penalty = _PENALTIES.get(field, _PENALTY)
        found = crossed(known, penalty)
        weights[field] = learn(known, penalty=penalty)
        print(f"{field}: {sum(found.values())} of {len(known)} calls right in cross-validation")
    target = Path(str(resources.files("config") / "vocabulary" / "ranking.json"))
    target.write_text(json.dumps(weights, ensure_ascii=False, indent=0, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
