"""Ways to falsify a logbook by somebody who may write to the database and the recordings, and what each must leave.

Every attack changes something and returns the position of the link that the verifier has to name as the first broken
one. The clever ones know how links are made and hash again what they have changed.
"""

from __future__ import annotations

import hashlib
import json
import random
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from duty.domain.chain import forge

Attack = Callable[["Attacker"], int]


class Attacker:
    """Writes past the services, on the book of one unit."""

    def __init__(self, connection: Connection, unit_id: int, recordings: Path, dice: random.Random) -> None:
        self.connection, self.unit_id, self.recordings, self.dice = connection, unit_id, recordings, dice
        sqlite = connection.dialect.name == "sqlite"
        self.run("PRAGMA foreign_keys=OFF" if sqlite else "SET session_replication_role = replica")
        self.links = self.rows("SELECT * FROM chain_links WHERE unit_id = :unit ORDER BY position")

    def run(self, statement: str, **values: object) -> None:
        self.connection.execute(text(statement), {"unit": self.unit_id, **values} if ":" in statement else {})

    def rows(self, query: str, **values: object) -> list[dict[str, Any]]:
        found = self.connection.execute(text(query), {"unit": self.unit_id, **values})
        return [dict(row) for row in found.mappings()]

    def pick(self, *kinds: str, after: int = 0) -> dict[str, Any]:
        """Some link of the kinds beyond a position."""
        return self.dice.choice(
            [link for link in self.links if (not kinds or link["kind"] in kinds) and link["position"] > after]
        )

    def pick_recorded(self) -> dict[str, Any]:
        """Some finalizing link whose call has a recording; ``wav`` is its file."""
        recorded = {row["call_id"]: row["path"] for row in self.rows("SELECT * FROM recordings WHERE sha256 <> ''")}
        found = []
        for link in self.links:
            call = json.loads(link["payload"])["record"].get("call")
            if call and call["id"] in recorded:
                found.append({**link, "call_id": call["id"], "wav": self.recordings / recorded[call["id"]]})
        return self.dice.choice(found)

    def set_link(self, link: dict[str, Any], **values: object) -> None:
        named = ", ".join(f"{name} = :{name}" for name in values)
        self.run(f"UPDATE chain_links SET {named} WHERE id = :id", id=link["id"], **values)

    def set_head(self, position: int, hash_: str) -> None:
        self.run("UPDATE books SET position = :p, hash = :h WHERE unit_id = :unit", p=position, h=hash_)

    def hash_again(self, start: int) -> None:
        """Makes every link from ``start`` on and the head follow from the records as they now are."""
        previous = self.links[start - 2]["hash"] if start > 1 else "0" * 64
        rows = self.rows("SELECT * FROM chain_links WHERE unit_id = :unit ORDER BY position")
        for row in rows[start - 1 :]:
            link = forge(position=row["position"], previous=previous, record=json.loads(row["payload"])["record"])
            self.set_link(row, payload=link.payload, previous=previous, hash=link.hash)
            previous = link.hash
        self.set_head(len(rows), previous)

    def reforge(self, link: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
        """Changes a link's record and hashes that one link again."""
        record = json.loads(link["payload"])["record"]
        change(record)
        new = forge(position=link["position"], previous=link["previous"], record=record)
        self.set_link(link, payload=new.payload, hash=new.hash)

    def renumber(self, start: int, by: int) -> None:
        """Moves the positions from ``start`` on; by way of negative ones, since two links may not share one."""
        self.run("UPDATE chain_links SET position = -position WHERE unit_id = :unit AND position >= :s", s=start)
        self.run("UPDATE chain_links SET position = -position + :by WHERE unit_id = :unit AND position < 0", by=by)

    def insert(self, position: int, previous: str, record: dict[str, Any]) -> str:
        """A forged link; returns its hash."""
        link = forge(position=position, previous=previous, record=record)
        self.run(
            "INSERT INTO chain_links (unit_id, position, kind, entry_id, at, payload, previous, hash)"
            " SELECT unit_id, :p, :kind, entry_id, at, :payload, :previous, :hash FROM chain_links"
            " WHERE unit_id = :unit AND entry_id = :entry ORDER BY id LIMIT 1",
            p=position,
            kind=record["kind"],
            entry=record["entry"],
            payload=link.payload,
            previous=link.previous,
            hash=link.hash,
        )
        return link.hash


def edit_payload(attacker: Attacker) -> int:
    link = attacker.pick()
    at = attacker.dice.randrange(len(link["payload"]))
    other = "x" if link["payload"][at] != "x" else "y"
    attacker.set_link(link, payload=link["payload"][:at] + other + link["payload"][at + 1 :])
    return link["position"]


def edit_link_column(attacker: Attacker) -> int:
    link = attacker.pick()
    name, value = attacker.dice.choice(
        [
            ("hash", secrets.token_hex(32)),
            ("previous", secrets.token_hex(32)),
            ("kind", "void" if link["kind"] != "void" else "amend"),
            ("at", "2020-01-01 00:00:00.000000"),
            ("position", 10_000),
            ("entry_id", 10_000),
            ("payload", ""),
            ("payload", "null"),
            ("payload", '{"position":1.0}'),
        ]
    )
    attacker.set_link(link, **{name: value})
    return link["position"]


def rewrite_record_and_hash(attacker: Attacker) -> int:
    link = attacker.pick("finalize")
    attacker.reforge(link, lambda record: record["content"].update(place="另一处"))
    return link["position"]


def rewrite_record_and_hash_all(attacker: Attacker) -> int:
    link = attacker.pick("finalize", "amend")  # a voiding stands in its link alone: rewritten, only an anchor tells
    attacker.reforge(link, lambda record: record.update(by_id=record["by_id"] + 1))
    attacker.hash_again(link["position"])
    return link["position"]


def rewrite_record_and_entry(attacker: Attacker) -> int:
    link = attacker.pick("finalize")
    attacker.reforge(link, lambda record: record["content"].update(casualties="无人伤亡"))
    attacker.run("UPDATE entries SET casualties = '无人伤亡' WHERE id = :id", id=link["entry_id"])
    return min(link["position"] + 1, len(attacker.links))


def store_uncanonical(attacker: Attacker) -> int:
    link = attacker.pick()
    payload = json.dumps(json.loads(link["payload"]), ensure_ascii=attacker.dice.random() < 0.5, indent=1)
    attacker.set_link(link, payload=payload, hash=hashlib.sha256(payload.encode()).hexdigest())
    return link["position"]


def delete_link(attacker: Attacker) -> int:
    link = attacker.pick()
    attacker.run("DELETE FROM chain_links WHERE id = :id", id=link["id"])
    if attacker.dice.random() < 0.5:
        attacker.renumber(link["position"] + 1, -1)
        if attacker.dice.random() < 0.5:
            attacker.set_head(len(attacker.links) - 1, attacker.links[-1]["hash"])
    return link["position"]


def swap_links(attacker: Attacker) -> int:
    one = attacker.pick()
    other = attacker.dice.choice([link for link in attacker.links if link["id"] != one["id"]])
    attacker.set_link(one, position=-1)
    attacker.set_link(other, position=one["position"])
    attacker.set_link(one, position=other["position"])
    return min(one["position"], other["position"])


def insert_in_the_middle(attacker: Attacker) -> int:
    link = attacker.pick(after=1)
    amended = attacker.links[0]
    record = {
        **{key: value for key, value in json.loads(amended["payload"])["record"].items() if key in _SUBJECT},
        "kind": "amend",
        "changes": {"place": ["此处", "彼处"]},
        "reason": "更正",
    }
    attacker.renumber(link["position"], 1)
    attacker.insert(link["position"], link["previous"], record)
    if attacker.dice.random() < 0.5:
        attacker.hash_again(link["position"])
    return link["position"]


def append_link(attacker: Attacker) -> int:
    last, copied = attacker.links[-1], attacker.pick("finalize")
    position = last["position"] + 1
    hash_ = attacker.insert(position, last["hash"], json.loads(copied["payload"])["record"])
    if attacker.dice.random() < 0.5:
        attacker.set_head(position, hash_)
    return position


def truncate(attacker: Attacker) -> int:
    first = attacker.pick()
    attacker.run("DELETE FROM chain_links WHERE unit_id = :unit AND position >= :p", p=first["position"])
    if attacker.dice.random() < 0.5:
        attacker.set_head(first["position"] - 1, first["previous"])
    return first["position"]


def move_head(attacker: Attacker) -> int:
    last = len(attacker.links)
    position, hash_, named = attacker.dice.choice(
        [
            (last, secrets.token_hex(32), last),
            (last + 3, attacker.links[-1]["hash"], last + 1),
            (last - 2, attacker.links[-3]["hash"], last - 1),
        ]
    )
    attacker.set_head(position, hash_)
    return named


def drop_head(attacker: Attacker) -> int:
    attacker.run("DELETE FROM books WHERE unit_id = :unit")
    return 1


def edit_entry(attacker: Attacker) -> int:
    link = attacker.pick("finalize")
    column, value = attacker.dice.choice(
        [(name, "改过的内容") for name in ("event_time", "place", "event", "caller_name", "remarks", "number_text")]
        + [("number", 700), ("year", 1999), ("finalized_by", 700), ("state", "draft"), ("category", "fax")]
        + [("call_id", "0" * 32), ("finalized_at", "2020-01-01 00:00:00.000000"), ("unit_id", 700)]
        + [("repeated_back_at", "2020-01-01 00:00:00.000000")]
    )
    attacker.run(f"UPDATE entries SET {column} = :value WHERE id = :id", value=value, id=link["entry_id"])
    return link["position"]


def delete_entry(attacker: Attacker) -> int:
    link = attacker.pick("finalize")
    attacker.run("DELETE FROM entries WHERE id = :id", id=link["entry_id"])
    return link["position"]


def slip_entry_in(attacker: Attacker) -> int:
    state = attacker.dice.choice(["finalized", "voided", "draft"])
    columns = (
        "unit_id, state, version, touched, event_time, place, event, caller_unit, caller_name, caller_title,"
        " caller_phone, casualties, measures, request, category, remarks, created_at"
    )
    link = attacker.pick("finalize")
    attacker.run(
        f"INSERT INTO entries ({columns}, year, number, number_text) SELECT {columns.replace('state', ':state')},"
        " 2026, 900, '龙亭值〔2026〕900号' FROM entries WHERE id = :id",
        id=link["entry_id"],
        state=state,
    )
    return len(attacker.links) + 1


def revive_voided(attacker: Attacker) -> int:
    link = attacker.pick("void")
    attacker.run("UPDATE entries SET state = 'finalized' WHERE id = :id", id=link["entry_id"])
    return link["position"]


def void_silently(attacker: Attacker) -> int:
    attacker.run(
        "UPDATE entries SET state = 'voided' WHERE id = (SELECT min(id) FROM entries"
        " WHERE unit_id = :unit AND state = 'finalized')"
    )
    return len(attacker.links) + 1


def falsify_check(attacker: Attacker) -> int:
    link = attacker.pick_recorded()
    statement = attacker.dice.choice(
        [
            "UPDATE identity_checks SET verdict = 'not_verified' WHERE entry_id = :id",
            "UPDATE identity_checks SET note = note || '。' WHERE entry_id = :id",
            "UPDATE identity_checks SET officer_id = officer_id + 1 WHERE entry_id = :id",
            "UPDATE identity_checks SET number_called = '110' WHERE entry_id = :id",
            "DELETE FROM identity_checks WHERE entry_id = :id",
            "INSERT INTO identity_checks (entry_id, method, verdict, note, number_called, officer_id, at)"
            " SELECT entry_id, method, verdict, note, number_called, officer_id, at FROM identity_checks"
            " WHERE entry_id = :id",
        ]
    )
    attacker.run(statement, id=link["entry_id"])
    return link["position"]


def falsify_amendment(attacker: Attacker) -> int:
    link = attacker.pick("amend")
    statement = attacker.dice.choice(
        [
            'UPDATE amendments SET changes = \'{"place": ["", ""]}\' WHERE entry_id = :id',
            "UPDATE amendments SET changes = '{' || '}' WHERE entry_id = :id",
            "UPDATE amendments SET reason = '' WHERE entry_id = :id",
            "DELETE FROM amendments WHERE entry_id = :id",
        ]
    )
    if "||" in statement and attacker.connection.dialect.name != "sqlite":
        statement = statement.replace("'{' || '}'", "'[]'")
    attacker.run(statement, id=link["entry_id"])
    return min(other["position"] for other in attacker.links if (other["entry_id"], other["kind"]) == _amend(link))


def _amend(link: dict[str, Any]) -> tuple[int, str]:
    return link["entry_id"], "amend"


def slip_amendment_in(attacker: Attacker) -> int:
    attacker.run(
        "INSERT INTO amendments (entry_id, changes, reason, officer_id, at)"
        " SELECT entry_id, changes, reason, officer_id, at FROM amendments"
        " WHERE id = (SELECT max(id) FROM amendments WHERE entry_id = :entry)",
        entry=attacker.pick("amend")["entry_id"],
    )
    return len(attacker.links) + 1


def falsify_call(attacker: Attacker) -> int:
    link = attacker.pick_recorded()
    statement = attacker.dice.choice(
        [
            "UPDATE calls SET caller_number = '110' WHERE id = :id",
            "UPDATE calls SET direction = 'outbound' WHERE id = :id",
            "UPDATE calls SET arrived_at = '2020-01-01 00:00:00.000000' WHERE id = :id",
            "UPDATE calls SET answered_at = NULL WHERE id = :id",
            "DELETE FROM calls WHERE id = :id",
            "UPDATE recordings SET sha256 = '' WHERE call_id = :id",
            "UPDATE recordings SET path = '' WHERE call_id = :id",
            "UPDATE recordings SET path = 'elsewhere.wav' WHERE call_id = :id",
            "UPDATE recordings SET samples = samples + 1 WHERE call_id = :id",
            "DELETE FROM recordings WHERE call_id = :id",
        ]
    )
    attacker.run(statement, id=link["call_id"])
    return link["position"]


def falsify_wav(attacker: Attacker) -> int:
    link = attacker.pick_recorded()
    wav: Path = link["wav"]
    raw = bytearray(wav.read_bytes())
    way = attacker.dice.choice(["flip", "cut", "grow", "delete", "swap"])
    if way == "flip":
        at = attacker.dice.randrange(len(raw))
        raw[at] ^= 1 << attacker.dice.randrange(8)
    elif way == "cut":
        del raw[-4:]
    elif way == "grow":
        raw += b"\0\0\0\0"
    if way == "delete":
        wav.unlink()
    elif way == "swap":  # another call's true recording, and the row agrees
        raw[44:] = secrets.token_bytes(len(raw) - 44)
        wav.write_bytes(raw)
        attacker.run(
            "UPDATE recordings SET sha256 = :h WHERE call_id = :id",
            h=hashlib.sha256(raw).hexdigest(),
            id=link["call_id"],
        )
    else:
        wav.write_bytes(raw)
    return link["position"]


def rename_unit(attacker: Attacker) -> int:
    attacker.run("UPDATE units SET code = 'ZZ' WHERE id = :unit")
    return 1


_SUBJECT = {"kind", "entry", "year", "number", "number_text", "by", "by_id", "at"}

ATTACKS: tuple[Attack, ...] = (
    edit_payload,
    edit_link_column,
    rewrite_record_and_hash,
    rewrite_record_and_hash_all,
    rewrite_record_and_entry,
    store_uncanonical,
    delete_link,
    swap_links,
    insert_in_the_middle,
    append_link,
    truncate,
    move_head,
    drop_head,
    edit_entry,
    delete_entry,
    slip_entry_in,
    revive_voided,
    void_silently,
    falsify_check,
    falsify_amendment,
    slip_amendment_in,
    falsify_call,
    falsify_wav,
    rename_unit,
)
