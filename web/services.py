"""The use cases the console stands on, bundled once at the process entry and passed down."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from config.settings import Settings
from duty.domain.entries import EntryRules
from duty.domain.times import Clock
from duty.services.accounts import Accounts
from duty.services.alarms import Alarms
from duty.services.callreview import CallReview
from duty.services.captions import Captions
from duty.services.commands import Commands
from duty.services.custody import Custody
from duty.services.directory import Directory
from duty.services.evidence import EvidenceRoom
from duty.services.exceptions import ForwardExceptions
from duty.services.handovers import Handovers
from duty.services.holds import Holds
from duty.services.identification import Identification
from duty.services.linechecks import LineChecks
from duty.services.lines import Lines
from duty.services.logbook import Logbook
from duty.services.network import Network
from duty.services.numbering import number_plan
from duty.services.outages import Outages
from duty.services.outbox import Outbox
from duty.services.pins import Pins
from duty.services.recordings import Recordings
from duty.services.rosters import Rosters
from duty.services.secrecy import Secrecy
from duty.services.suggestions import Suggestions
from duty.services.versions import Versions
from duty.services.watches import Watches
from duty.services.words import Words
from duty.services.workdays import Workdays
from duty.store.database import Store
from duty.vault.keyfile import MasterKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a screen may call."""

    store: Store
    clock: Clock
    accounts: Accounts
    alarms: Alarms
    calls: CallReview
    captions: Captions
    commands: Commands
    custody: Custody
    directory: Directory
    evidence: EvidenceRoom
    exceptions: ForwardExceptions
    handovers: Handovers
    holds: Holds
    identification: Identification
    linechecks: LineChecks
    lines: Lines
    logbook: Logbook
    network: Network
    outages: Outages
    outbox: Outbox
    pins: Pins
    recordings: Recordings
    rosters: Rosters
    secrecy: Secrecy
    suggestions: Suggestions
    words: Words
    versions: Versions
    watches: Watches
    workdays: Workdays


def build(store: Store, clock: Clock, settings: Settings) -> Services:
    """The services over one store, ruled by the settings."""
    plan = number_plan(settings.numbers)
    rules = EntryRules(required=settings.entries.required, important_categories=frozenset(settings.entries.important))
    accounts = Accounts(store, clock)
    keys = MasterKeys(settings.secrecy.key_file)
    return Services(
        store=store,
        clock=clock,
        accounts=accounts,
        alarms=Alarms(store, clock),
        calls=CallReview(store, clock),
        captions=Captions(store),
        commands=Commands(store, clock),
        custody=Custody(store, clock),
        directory=Directory(store, clock, plan),
        evidence=EvidenceRoom(store, clock),
        exceptions=ForwardExceptions(store, clock),
        handovers=Handovers(store, clock, checks=LineChecks(store, clock)),
        holds=Holds(store, clock),
        identification=Identification(store),
        linechecks=LineChecks(store, clock),
        lines=Lines(store, clock),
        logbook=Logbook(store, clock, rules=rules, plan=plan),
        network=Network(store),
        outages=Outages(store, clock),
        outbox=Outbox(store),
        pins=Pins(store, clock, accounts=accounts),
        recordings=Recordings(store, clock, keys),
        rosters=Rosters(store, clock),
        secrecy=Secrecy(store, clock, keys, opening=timedelta(minutes=settings.secrecy.opening_minutes)),
        suggestions=Suggestions(store, clock),
        words=Words(store, clock),
        versions=Versions(store, clock),
        watches=Watches(store, clock),
        workdays=Workdays(store, clock),
    )
