"""Sentences of the relation data: ``{H}`` stands in a relation to ``{T}``; other entities only stand by.

The last three sentences of a relation are of the test, the two before them of validation. Frames put a sentence into a
longer one, with entities that have nothing to do with those of the sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lilliput.benchmarks.training.generated.sentences import lines


@dataclass(frozen=True)
class Relation:
    """Slots of head and tail, whether both directions are the same, and the sentences of each part."""

    head: str
    tail: str
    cores: Mapping[str, tuple[str, ...]]
    symmetric: bool = False


def _cut(text: str) -> dict[str, tuple[str, ...]]:
    every = lines(text)
    return {"train": every[:-5], "validation": every[-5:-3], "test": every[-3:]}


RELATIONS = {
    "founder-of": Relation(
        "PER",
        "ORG",
        _cut("""
        {H} founded {T}
        {T} was founded by {H}
        {H} is the founder of {T}
        {H} started {T} in a garage
        {T}, founded by {H}, is growing fast
        it was {H} who set up {T}
        {H} established {T} with the money of an aunt
        {T} was set up by {H} in {DATE}
        {H}, the founder of {T}, prefers to stay silent
        the founder of {T} is called {H}
        {H} created {T} from nothing
        {T} goes back to {H}, who opened it in {DATE}
        {T} is a creation of {H}
        in {DATE} {H} launched {T}
        {T} was born when {H} lost patience with banks
        {H} launched a firm of her own, {T}
        {T} owes its existence to its founder {H}
        {T}, established by {H}, has moved twice
        {H} set up a company called {T}
        with two friends, {H} brought {T} into being
        """),
    ),
    "works-for": Relation(
        "PER",
        "ORG",
        _cut("""
        {H} works for {T}
        {T} employs {H}
        {H} is an engineer at {T}
        {T} hired {H} in {DATE}
        {H}, who is employed by {T}, was on leave
        {H} earns a modest salary at {T}
        {H} has a desk on the third floor of {T}
        {T} pays {H} badly
        {H} sells insurance for {T}
        a spokesman of {T}, {H}, declined to comment
        {H} is on the staff of {T}
        {T} gave {H} a job
        {H} joined {T} as a trainee
        the accountant of {T}, {H}, found the error
        {H} drives a truck for {T}
        {H} has been with {T} as a clerk since {DATE}
        among the employees of {T} is {H}
        {H} took a job at {T}
        {T} has {H} on its payroll
        {H}, a nurse employed at {T}, works nights
        """),
    ),
    "born-in": Relation(
        "PER",
        "LOC",
        _cut("""
        {H} was born in {T}
        {H} comes from {T}
        {T} is the birthplace of {H}
        {H} was born and raised in {T}
        {H}, a native of {T}, speaks four languages
        {H} first saw the light of day in {T}
        {H} was born in {DATE} in {T}
        in {T} they still show the house in which {H} was born
        {T} celebrates {H}, who was born there
        the mother of {H} gave birth to her in {T}
        {H}, born in {T}, left early
        {H} hails from {T}
        {H} is a child of {T}
        {T} is where {H} came into the world
        the midwife of {T} delivered {H}
        {H} originates from {T}
        the birth of {H} was registered in {T}
        {H}, who was born near the harbour of {T}, can't swim
        {T} was the place of birth of {H}
        {H} came into the world in {T}
        """),
    ),
    "based-in": Relation(
        "ORG",
        "LOC",
        _cut("""
        {H} is based in {T}
        {H} has its head office in {T}
        the headquarters of {H} are in {T}
        {H}, based in {T}, makes pumps
        {H} is run from {T}
        {H} has its seat in {T}
        the {T} company {H} closed early
        {T} is the home of {H}
        {H} of {T} has many customers
        from its headquarters in {T}, {H} controls the market
        {H} moved its head office to {T}
        {T} hosts the main building of {H}
        the board of {H} meets at its seat, {T}
        {T} is proud of its largest firm, {H}
        {H} resides in {T}
        {H} is a firm with its seat in {T}
        {T} is where {H} has its headquarters
        {H} is headquartered in {T}
        the main office of {H} stands in {T}
        the {T}-based firm {H} pays no tax
        """),
    ),
    "bought": Relation(
        "ORG",
        "ORG",
        _cut("""
        {H} bought {T}
        {T} was bought by {H}
        {H} acquired {T} for a high price
        {T} now belongs to {H}
        {H} took over {T} in {DATE}
        {T} was swallowed by {H}
        {H} paid cash for {T}
        {T} was sold to {H}
        {H} became the owner of {T}
        the sale of {T} to {H} is final
        {H}, which bought {T} in {DATE}, is in debt
        {T} was taken over by {H}
        {H} has swallowed {T}
        {T}, a recent purchase of {H}, lost money
        {H} is the new owner of {T}
        {T} has been acquired by {H}
        the takeover of {T} by {H} took a year
        {H} purchased {T}
        {T} ended up in the hands of {H}, which had bid most
        {H} completed its acquisition of {T}
        """),
    ),
    "parent-of": Relation(
        "PER",
        "PER",
        _cut("""
        {H} is the mother of {T}
        {T} is the son of {H}
        {H} is the father of {T}
        {T} is a daughter of {H}
        {H} has a son, {T}
        {T} was brought up by her father, {H}
        {H} named her first baby {T}
        {T}, the son of {H}, plays the organ
        {T} calls {H} every Sunday, like a good daughter
        {H} adopted {T}
        {T} inherited the nose of his mother, {H}
        the children of {H} include {T}
        {H} gave birth to {T}
        {H} sang her son {T} to sleep
        {T} is the youngest child of {H}
        {T} learned to walk holding the hand of her father, {H}
        {H} became a parent when {T} was born
        {T} is the eldest daughter of {H}
        {H} raised her son {T} alone
        {T} has the eyes of his father, {H}
        """),
    ),
    "married-to": Relation(
        "PER",
        "PER",
        _cut("""
        {H} is married to {T}
        {H} married {T} in {DATE}
        {H} is the wife of {T}
        {T} is the husband of {H}
        {H} and {T} are husband and wife
        {H} and {T} had a quiet wedding
        {H} exchanged rings with {T}
        the marriage of {H} and {T} is a happy one
        {H} proposed to {T}, and they married
        {H} filed for divorce from {T}
        {H} and her husband {T} keep bees
        {T} took his wife, {H}, to the opera
        {H} celebrated her silver wedding with {T}
        {H} wed {T} on a ship
        the bride was {H}, the groom was {T}
        {H} and {T} are a married couple
        {T} is the spouse of {H}
        {H} tied the knot with {T}
        {H} and {T} got married in {DATE}
        {T} lives with his wife {H}
        """),
        symmetric=True,
    ),
}

NOTHING = _cut("""
{PER} met {PER} in the lift
{PER} walked past the office of {ORG}
{PER} complained about {ORG}
{PER} flew over {LOC}
{PER} dislikes {LOC}
{ORG} competes with {ORG}
{ORG} and {ORG} signed a contract
{PER} and {PER} shared a taxi
{PER} sued {ORG}
{ORG} sponsors a race in {LOC}
{ORG} sells shoes in {LOC}
{PER} spent a week in {LOC}
{PER} wrote a poem about {LOC}
{PER} beat {PER} at chess
{ORG} delivers parcels to {LOC}
{PER} is a customer of {ORG}
{PER} lent {PER} a book
{ORG} warned {ORG} of a leak
{PER} drove through {LOC} at night
{PER} plays tennis against {PER}
{PER} read about {ORG} in the paper
{ORG} refused to serve {PER}
trucks of {ORG} got stuck in {LOC}
{ORG} copied a design of {ORG}
{PER} owes {PER} money
{PER} took a photograph of {LOC}
{PER} painted {PER}
{ORG} has a quarrel with {ORG}
{ORG} built a bridge near {LOC}
{PER} cancelled an order at {ORG}
{PER} missed a train in {LOC}
{PER} and {PER} argued about the bill
{ORG} supplies {ORG} with screws
{PER} wrote a letter to {ORG}
{ORG} shot a film in {LOC}
""")

FRAMES = {
    "train": lines("""
    {X}.
    {X}.
    {X}.
    {X}, while {PER} stayed in {LOC}.
    {X}, says {PER}.
    According to {ORG}, {X}.
    {X}; {PER} had left by then.
    On {DATE}, as {PER} recalls, {X}.
    In {LOC} everyone knows that {X}.
    {X}, and {ORG} did not like it.
    {PER} was surprised to hear that {X}.
    {X}, a report by {ORG} says.
    Nobody told {PER} that {X}.
    {X}, but {PER} thinks otherwise.
    The news that {X} reached {LOC} late.
    """),
    "validation": lines("""
    {X}.
    {PER} wrote that {X}.
    {X}, to the surprise of {ORG}.
    {X}, people in {LOC} say.
    """),
    "test": lines("""
    {X}.
    {X}.
    {X}, as {PER} found out in {LOC}.
    {ORG} has confirmed that {X}.
    {X}, which {PER} learned too late.
    Did {PER} know that {X}?
    """),
}
