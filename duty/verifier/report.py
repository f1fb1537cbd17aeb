"""What the verifier answers, and its words: a stable code for programs, a Chinese sentence for people."""

from __future__ import annotations

from dataclasses import dataclass

WORDS = {
    "anchor_differs": "链上此处的哈希与离机保存的存证不一致：此处及以前的记录被整体改写",
    "anchor_missing": "离机保存的存证指向的链上位置已不存在：链尾被截去",
    "amendment_differs": "更正内容与链上记载不一致",
    "amendment_unlinked": "有更正未记入链：链尾缺少环节",
    "already_void": "记录已作废，其后仍有更正或作废的环节",
    "call_differs": "通话信息（{detail}）与链上记载不一致",
    "call_missing": "链上记载的通话在通话簿中不存在",
    "draft_numbered": "待核记录已带有编号或定稿信息",
    "entry_differs": "记录的“{detail}”与链上记载不一致",
    "entry_missing": "链上环节所指的值班记录不存在",
    "entry_unlinked": "值班记录已定稿但未记入链：链尾缺少环节",
    "finalized_twice": "同一值班记录有两个定稿环节",
    "hash_differs": "环节的哈希与其内容不符：内容被改动",
    "head_behind": "登记簿的链头落后于链：链尾有来历不明的环节",
    "head_differs": "登记簿的链头与最后一个环节的哈希不一致",
    "head_missing": "该单位有链而无登记簿链头",
    "identity_differs": "身份核实记录与链上记载不一致",
    "kind_differs": "环节类别与其内容不符",
    "link_differs": "环节的“{detail}”与其内容不符",
    "link_missing": "链上缺少此位置的环节",
    "links_missing": "链比登记簿的链头短：链尾被截去",
    "not_finalized": "记录未定稿即有更正或作废的环节",
    "number_gap": "编号不连续：应为第{detail}号",
    "payload_malformed": "环节内容无法解读（{detail}）",
    "payload_misplaced": "环节内容所载的位置或前一哈希与环节不符",
    "payload_not_canonical": "环节内容不是规范形式",
    "previous_differs": "环节未接在前一环节之后",
    "recording_altered": "录音文件与登记的校验值不符",
    "recording_after_finalize": "定稿时录音尚未封存，录音的校验值未受此环节保护",
    "recording_length": "录音文件的长度（{detail}）与登记不符",
    "recording_missing": "录音文件不存在或无法读取（{detail}）",
    "recording_row_differs": "录音登记的校验值与链上记载不一致",
    "record_form": "环节内容的字段不齐或多余（{detail}）",
    "archive_altered": "归档副本与登记的校验值不符",
    "archive_length": "归档副本的长度（{detail}）与录音登记不符",
    "archive_missing": "归档副本不存在或无法读取（{detail}）",
    "chain_altered": "录音工作文件的校验链被改动（{detail}）",
    "chain_differs": "录音校验链的末环与登记不符",
    "chain_missing": "录音的校验链不存在或无法读取（{detail}）",
    "custody_anchor_differs": "录音保管链此处的哈希与离机保存的存证不一致",
    "custody_anchor_missing": "离机保存的存证指向的录音保管链位置已不存在：链尾被截去",
    "custody_hash_differs": "录音保管链环节的哈希与其内容不符：内容被改动",
    "custody_missing": "录音保管链缺少此位置的环节",
    "custody_malformed": "录音保管链环节的内容与登记不符（{detail}）",
    "custody_previous_differs": "录音保管链环节未接在前一环节之后",
    "custody_row_differs": "录音登记（{detail}）与保管链不符",
    "evidence_altered": "存证的原始信令与登记的校验值不符：内容被改动",
    "evidence_anchor_differs": "存证链此处的哈希与离机保存的存证不一致",
    "evidence_anchor_missing": "离机保存的存证指向的存证链位置已不存在：链尾被截去",
    "evidence_deleted": "存证链所指的存证（{detail}号）已不存在",
    "evidence_event_differs": "存证所载的转移拦截在通话经过中不存在或不一致",
    "evidence_hash_differs": "存证链环节的哈希与其内容不符：内容被改动",
    "evidence_link_missing": "存证链缺少此位置的环节",
    "evidence_malformed": "存证链环节的内容与登记不符（{detail}）",
    "evidence_missing": "通话经过中的转移拦截没有对应的存证",
    "evidence_previous_differs": "存证链环节未接在前一环节之后",
    "evidence_row_differs": "存证登记（{detail}）与存证链不符",
    "evidence_unlinked": "存证（{detail}号）未记入存证链",
    "handover_anchor_differs": "交接班链此处的哈希与离机保存的存证不一致",
    "handover_anchor_missing": "离机保存的存证指向的交接班链位置已不存在：链尾被截去",
    "handover_book_differs": "交接班时登记簿的链头与登记簿的链不符：登记簿被改写",
    "handover_deleted": "交接班链所指的交接班记录（{detail}号）已不存在",
    "handover_hash_differs": "交接班链环节的哈希与其内容不符：内容被改动",
    "handover_link_missing": "交接班链缺少此位置的环节",
    "handover_malformed": "交接班链环节的内容与登记不符（{detail}）",
    "handover_previous_differs": "交接班链环节未接在前一环节之后",
    "handover_row_differs": "交接班记录（{detail}）与交接班链不符",
    "handover_unlinked": "交接班记录（{detail}号）未记入交接班链",
    "sealed_altered": "密封文件与登记的校验值不符（{detail}）",
    "sealed_missing": "密封文件不存在或无法读取（{detail}）",
    "sealed_not_opened": "密封文件以主密钥无法打开，或内容与登记的校验值不符（{detail}）",
    "recording_removed_early": "录音未满一年保存期即被清理（{detail}）",
    "unit_missing": "链所属的单位不存在",
    "void_unlinked": "记录标为作废但链上没有作废环节",
    "year_differs": "编号年度与定稿时间不符",
}


CUSTODY = "#custody"
"""The custody chain's place among the heads; no unit has such a code."""
EVIDENCE = "#evidence"
"""That of the chain of evidence."""
HANDOVERS = "#handovers"
"""That of the chain of handovers."""


class CannotVerify(Exception):
    """Nothing can be said: the database cannot be opened or read, or is no logbook. The operator's to mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be.

    ``unit`` is the unit's code, ``position`` that of the link (from 1; one past the last where a link is missing at
    the end), ``entry_number`` the printed number it concerns or empty, ``what`` a key of WORDS, ``explanation`` the
    Chinese sentence. For a recording or a piece of evidence ``call`` is its call's id; ``position`` then is that in the
    custody chain or the chain of evidence, or 0.
    """

    unit: str
    position: int
    entry_number: str
    what: str
    explanation: str
    call: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitReport:
    """One unit's book: ``links`` and finalized ``entries`` that were found good, the position and hash of the last
    good link (what an anchor kept off the machine should note), and the first broken link or None."""

    code: str
    links: int
    entries: int
    head_hash: str
    broken: Finding | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingsReport:
    """The recordings: how many ``good`` ones there are, those removed after their time included, the position and hash
    of the custody chain's last good link, and the first wrong thing or None. ``read`` is False where no directory was
    given: then only the rows and the chain were looked at; ``sealed_opened`` files sealed for secrecy were opened with
    the master key, the others compared as they lie there."""

    good: int
    read: bool
    custody: int
    custody_hash: str
    broken: Finding | None
    sealed_opened: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceReport:
    """The chain of evidence: its good ``links``, the hash of the last of them, and the first wrong thing or None."""

    links: int
    head_hash: str
    broken: Finding | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverReport:
    """The chain of handovers: its good ``links``, the hash of the last of them, and the first wrong thing or None."""

    links: int
    head_hash: str
    broken: Finding | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The verdict on all books. ``warnings`` are no breaks: nothing was altered, but less is protected."""

    units: tuple[UnitReport, ...]
    warnings: tuple[Finding, ...]
    recordings: RecordingsReport
    evidence: EvidenceReport
    handovers: HandoverReport

    @property
    def links(self) -> int:
        """Good links in all books."""
        return sum(unit.links for unit in self.units)

    @property
    def entries(self) -> int:
        """Numbered entries behind those links."""
        return sum(unit.entries for unit in self.units)

    @property
    def first_broken(self) -> Finding | None:
        """The first broken link of the first unit that has one, else the first wrong recording, else the first wrong
        piece of evidence or handover, or None: every book is whole."""
        books = (unit.broken for unit in self.units)
        others = (self.recordings.broken, self.evidence.broken, self.handovers.broken)
        return next((each for each in (*books, *others) if each is not None), None)

    @property
    def heads(self) -> dict[str, tuple[int, str]]:
        """Unit code to (position, hash): the anchor to keep off the machine for the next verification."""
        heads = {unit.code: (unit.links, unit.head_hash) for unit in self.units}
        if self.recordings.custody:
            heads[CUSTODY] = (self.recordings.custody, self.recordings.custody_hash)
        if self.evidence.links:
            heads[EVIDENCE] = (self.evidence.links, self.evidence.head_hash)
        if self.handovers.links:
            heads[HANDOVERS] = (self.handovers.links, self.handovers.head_hash)
        return heads


def finding(
    what: str, *, unit: str, position: int, entry_number: str = "", detail: str | int = "", call: str = ""
) -> Finding:
    """A finding with its sentence. Raises KeyError for a code without words."""
    explanation = WORDS[what].format(detail=detail)
    return Finding(
        unit=unit, position=position, entry_number=entry_number, what=what, explanation=explanation, call=call
    )
