"""Sentences of the relation data: ``{H}`` stands in a relation to ``{T}``; other entities only stand by.

The last three sentences of a relation are of the test, the two before them of validation.
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


def cut(text: str) -> dict[str, tuple[str, ...]]:
    """Sentences, a line each, by part of the data."""
    every = lines(text)
    return {"train": every[:-5], "validation": every[-5:-3], "test": every[-3:]}


RELATIONS = {
    "founder-of": Relation(
        "PER",
        "ORG",
        cut("""
        {H} laid the foundations of {T}
        {H} opened {T} with a loan from the bank
        {T} began as a hobby of {H}
        {H} built {T} up from a single shop
        it all began in {DATE}, when {H} founded {T}
        the woman who founded {T} is {H}
        {H}, who founded {T} at the age of twenty, is retired
        {T} was established in {DATE} by {H}
        {T} was started by {H} and a cousin
        {H} registered {T} as a new company in {DATE}
        {H} is one of the founders of {T}
        {T} honours its founder, {H}, with a medal
        as the founder of {T}, {H} chose the name
        {H} left school and started {T}
        {T} is the brainchild of {H}
        {H} put all her savings into founding {T}
        {T} was opened in {DATE} by a young {H}
        without {H}, who created it, there would be no {T}
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
        cut("""
        {H} is employed at {T}
        {H}, an employee of {T}, was promoted
        {T} has employed {H} since {DATE}
        {H} gets her wages from {T}
        {H} is a manager at {T}
        {H} is one of the engineers of {T}
        {H} does the books for {T}
        {H} started work at {T} in {DATE}
        {T} recruited {H} straight from school
        {T} promoted {H} to head of sales
        the boss of {H} at {T} is strict
        {H} goes to work at {T} by bicycle
        {H}, who works at {T}, likes the canteen
        {H} cleans the offices of {T} for a living
        {T} offered {H} a post, which she took
        the new secretary at {T} is {H}
        a technician of {T}, {H}, repaired it
        {H} signed an employment contract with {T}
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
        cut("""
        the cradle of {H} stood in {T}
        {H} was born in a hospital in {T}
        {H} is a native of {T}
        {T} is the town where {H} was born
        the native town of {H} is {T}
        {H} returned to {T}, where she was born
        {H}, who comes from {T}, has an accent
        the passport of {H} says that she was born in {T}
        the parents of {H} lived in {T} when she was born
        born in {T}, {H} went to sea
        born in {DATE} in {T}, {H} became a singer
        a plaque in {T} marks the house where {H} was born
        {T} has one famous native, {H}
        the family of {H} left {T} soon after the birth
        it was in {T} that {H} was born
        the life of {H} began in {T}
        the people of {T} are proud that {H} was born among them
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
        cut("""
        the head office of {H} is in {T}
        {H} has its headquarters in {T}
        {H}, a company from {T}, is for sale
        {H}, with headquarters in {T}, is growing
        {H} is a {T} company
        {H} calls {T} its home
        {H} is registered in {T}
        the address of {H} is a street in {T}
        the firm {H} from {T} went public
        {H} has been based in {T} since {DATE}
        {H} is managed from {T}
        the directors of {H} sit in {T}
        {T} lost jobs, but {H} keeps its head office there
        {T} is the seat of {H}
        {T} is where {H} is based
        from {T}, {H} runs branches all over the world
        {H} moved its seat from the capital to {T}
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
        cut("""
        {H} has bought {T}
        {H} is buying {T}
        {T} became the property of {H}
        {T} is now a part of {H}
        {T} is a subsidiary of {H}
        {H} owns {T}
        {H} acquired all shares of {T}
        {H} bought a majority of {T} in {DATE}
        the owner of {T} is {H}
        {T} was acquired by {H} in {DATE}
        {H} paid two billion for {T}
        {H} made an offer for {T}, and the owners took it
        {T} passed to {H} in {DATE}
        {H} took control of {T}
        {T} lost its independence to {H}
        {H} absorbed {T}
        the shareholders of {T} sold everything to {H}
        {H} added {T} to its holdings
        {H} snapped up {T} at a bargain price
        {T} went to {H} at an auction
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
        cut("""
        {T} is the daughter of {H}
        {T} is a son of {H}
        {H} is a parent of {T}
        {H} has a daughter called {T}
        {H} has a daughter, {T}, and no other children
        the son of {H}, {T}, moved out
        the mother of {T} is {H}
        the father of {T}, {H}, was a baker
        {H} and her daughter {T} look alike
        {H} took his little son {T} to the zoo
        {T} was born to {H} in {DATE}
        {T} is the only child of {H}
        {T} is the firstborn of {H}
        {H} scolded her child {T}
        {T} took over the farm from her father, {H}
        {T} never knew his mother, {H}
        {H} became the father of {T} in {DATE}
        {H} paid for the studies of her son {T}
        {T} is the adopted son of {H}
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
        cut("""
        {H} is the husband of {T}
        {H} and {T} married in {DATE}
        {H} and {T} have been married for years
        {H}, the wife of {T}, is a judge
        {H}, the husband of {T}, cooks well
        {H} and his wife {T} moved
        {H} asked {T} for her hand, and she said yes
        {H} got engaged to {T} and married him in {DATE}
        {H} and {T} are divorced
        {H} divorced {T} in {DATE}
        {H} separated from her husband, {T}
        the wedding of {H} and {T} was on television
        {H} and {T} spent their honeymoon in the mountains
        {H} is the widow of {T}
        {H} kissed the bride, {T}
        the couple {H} and {T} bought a house
        {H} found a wife in {T}
        {T} said yes when {H} proposed
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
