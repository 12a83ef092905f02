"""Sentences in which nothing relates two entities, and frames for all sentences of the relation data.

Frames put a sentence into a longer one, with entities that have nothing to do with those of the sentence.
"""

from __future__ import annotations

from lilliput.benchmarks.training.generated.relation_templates import cut
from lilliput.benchmarks.training.generated.sentences import lines

NOTHING = cut("""
{PER} bought a bicycle from {ORG}
{PER} lost a lawsuit against {ORG}
{PER} tore up the bill of {ORG}
{ORG} sent {PER} a catalogue
{PER} parked in front of {ORG}
{PER} wrote a bad review of {ORG}
{ORG} apologised to {PER} for the delay
{PER} asked {ORG} for a refund
{ORG} turned down {PER}
{PER} holds shares in {ORG}
{PER} robbed a branch of {ORG}
{ORG} insures the car of {PER}
{PER} was interviewed about {ORG}
{PER} travelled to {LOC}
{PER} knows {LOC} well
{PER} bought a house in {LOC}
{PER} lives in {LOC}
{PER} works in {LOC}
{PER} studied in {LOC}
{PER} got married in {LOC}
{PER} died in {LOC}
{PER} gave a concert in {LOC}
{PER} dreams of {LOC}
{LOC} bored {PER}
{PER} was arrested in {LOC}
{PER} sent a postcard from {LOC}
{ORG} opened a shop in {LOC}
{ORG} closed its branch in {LOC}
{ORG} has a warehouse in {LOC}
{ORG} runs the buses of {LOC}
{ORG} exports to {LOC}
{ORG} pays no taxes in {LOC}
{LOC} sued {ORG}
{ORG} withdrew from {LOC}
{ORG} held a meeting in {LOC}
{ORG} advertises in {LOC}
{LOC} banned the products of {ORG}
{ORG} gave money to the hospital of {LOC}
{ORG} sued {ORG}
{ORG} buys steel from {ORG}
{ORG} is larger than {ORG}
{ORG} lent money to {ORG}
{ORG} and {ORG} share a building
{ORG} rents offices from {ORG}
{ORG} lost a customer to {ORG}
{ORG} hired a manager away from {ORG}
{ORG} and {ORG} work on a joint project
{ORG} refused to trade with {ORG}
{ORG} repairs the machines of {ORG}
{PER} hates {PER}
{PER} sold {PER} a car
{PER} is a friend of {PER}
{PER} is the boss of {PER}
{PER} is the neighbour of {PER}
{PER} taught {PER} to swim
{PER} interviewed {PER}
{PER} voted for {PER}
{PER} is the sister of {PER}
{PER} treated {PER} in hospital
{PER} dined with {PER}
{PER} hit {PER} with a snowball
{PER} danced with {PER}
{PER} and {PER} went to the same school
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
    It is said in {LOC} that {X}.
    {X}, and {PER} laughed about it.
    {PER} told {PER} that {X}.
    {X}; {ORG} was not involved.
    Before {PER} went to {LOC}, {X}.
    When {PER} called, {X}.
    {X}, {PER} claims.
    {ORG} denies that {X}.
    The archive of {LOC} shows that {X}.
    {X}, although {PER} and {PER} doubt it.
    {PER}, {PER} and {PER} agree that {X}.
    {X}, and {LOC} celebrates.
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
