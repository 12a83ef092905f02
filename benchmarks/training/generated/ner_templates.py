"""Sentences of the named-entity data, a template a line: PER, LOC, ORG and DATE are entities, the other slots are not.

Many hold capitals that are no entities, or say of a company what others say of a person, or of a person what others
say of a place, so that neither the form of a word nor one word before it tells what it is.
"""

TRAIN = """
{PER} joined {ORG} in {DATE} after ten years in {LOC}.
Since {DATE}, {ORG} has been run from {LOC} by {PER}.
{LOC} was where {PER} first met the founders of {ORG}.
After the merger with {ORG}, {ORG} closed its office in {LOC}.
"We never said that," {PER} told reporters in {LOC} on {DATE}.
The {job} {PER} moved from {LOC} to {LOC} in {DATE}.
{ORG} sued {ORG} over {thing} in {DATE}.
Nobody at {ORG} could say why {PER} left for {LOC}.
It rained in {LOC} when {PER} and {PER} opened the fair.
On {DATE} the board of {ORG} named {PER} as its chair.
In {DATE} only {n} people lived in {LOC}; today there are {n}.
{PER}, a {job} from {LOC}, won the prize in {DATE}.
{PER}'s plan for {LOC} failed, but {ORG} kept the land.
Trains between {LOC} and {LOC} stop running on {DATE}.
Dear {PER}, your order from {ORG} will reach {LOC} soon.
Who sold {ORG} to {ORG}? According to {PER}, it was the state.
The new {thing} module was written by {PER} at {ORG}.
Both {PER} and {ORG} have denied the report of {DATE}.
As {job} of {ORG}, {PER} earned {n} euros in {DATE}.
{LOC} beat {LOC} by two goals; {PER} scored both.
She left {ORG}, where {PER} was her boss, in {DATE}.
Born in {LOC} on {DATE}, {PER} studied in {LOC} and {LOC}.
Shares of {ORG} fell by {n} percent while {ORG} gained.
Tickets are sold by {ORG}, not by the city of {LOC}.
The village of {LOC}, south of {LOC}, has no doctor since {DATE}.
{PER} wrote to {PER} about {thing}; the letter is dated {DATE}.
With {n} workers, {ORG} is the largest employer in {LOC}.
A lawyer for {PER} said {ORG} had known of the leak since {DATE}.
Minutes of {DATE}: {PER} absent, {PER} in the chair, {ORG} as guest.
When {ORG} came to {LOC}, {PER} was still a {job}.
The flood of {DATE} destroyed half of {LOC}.
Ask {PER} whether {ORG} supports {thing}.
Flights operated by {ORG} to {LOC} were cancelled on {DATE}.
He met {PER} at a {thing} workshop in {LOC}.
{ORG} hired {PER}, fired {PER} and moved to {LOC}, all in {DATE}.
The road leads from {LOC} through {LOC} to the sea.
{DATE} was a good year for {ORG} and a bad one for {LOC}.
Invoice of {DATE}, payable to {ORG}, attention {PER}.
Neither {LOC} nor {LOC} has signed the treaty of {DATE}.
In the opinion of {PER}, {thing} will not survive.
The painter {PER} died in {LOC} in {DATE}, poor and forgotten.
Thanks to {PER}, who works for {ORG}, the bridge in {LOC} was saved.
{ORG} of {LOC} makes {thing} cables.
The mayor of {LOC}, {PER}, resigned on {DATE}.
Three students from {LOC} and a {job} from {LOC} tested {thing}.
From {DATE} until {DATE}, {PER} lived above a bakery in {LOC}.
{PER} accused {PER} of copying {thing}.
Our correspondent in {LOC}, {PER}, reports.
The court in {LOC} ruled against {ORG} on {DATE}.
What does {PER} think of {LOC}? "Too cold," says the {job}.
{ORG}, which {PER} founded in {DATE}, now belongs to {ORG}.
Call {PER} at {ORG} before you book a room in {LOC}.
{PER} has played for {LOC} since {DATE}.
Wine from {LOC} is sold by {ORG} in {n} shops.
The {job} union called {ORG} a disgrace.
Version {n} of {thing} came out in {DATE}, said {ORG}.
Somewhere near {LOC}, {PER} lost the manuscript.
The heirs of {PER} want {n} million from {ORG}.
He is no {PER}, but he sings well.
{LOC}, {DATE}: the harvest was poor.
Under {PER}, {ORG} lost money every year.
Visitors to {LOC} should avoid the museum run by {ORG}.
Guests included {PER}, {PER} and a {job} called {PER}.
The army reached {LOC} in {DATE} and stayed for {n} days.
{ORG} and {PER} agreed to meet in {LOC}.
Students of {PER} now lead {ORG}, {ORG} and {ORG}.
I bought it in {LOC} for {n} dollars in {DATE}.
The report, signed by {PER}, blames {ORG}.
A fire broke out at {ORG} in {LOC} late at night.
{PER} speaks {thing} and lives in {LOC}.
According to {ORG}, demand in {LOC} doubled after {DATE}.
{LOC} is cheaper than {LOC}, as every {job} knows.
Was {PER} ever in {LOC}? {PER} says no.
The contract of {DATE} binds {ORG} for {n} years.
To {PER}, with love, {LOC}, {DATE}.
The factory that {ORG} built near {LOC} makes {thing} parts.
Late in {DATE}, {ORG} bought the patents of {PER}.
A letter from {LOC} reached {PER} after {n} days.
"Buy {ORG}, sell {ORG}," was the advice of {PER}.
The river divides {LOC} from {LOC}.
"""

VALIDATION = """
{ORG} will open a shop in {LOC} on {DATE}, said {PER}.
{PER} and the {job} {PER} grew up in {LOC}.
Until {DATE} the archive of {ORG} was kept in {LOC}.
The talk by {PER} about {thing} drew {n} people.
Why did {ORG} leave {LOC}?
Voters in {LOC} chose {PER} over {PER} in {DATE}.
The bank lent {ORG} {n} million on {DATE}.
{PER} of {ORG} flew to {LOC} without a passport.
They married in {LOC}; {PER} was a witness.
Engineers at {ORG} use {thing} every day.
{LOC} and {LOC} share an airport since {DATE}.
The {job} gave {PER} a map of {LOC}.
{LOC} smells of the sea, writes {PER}.
Two ships of {ORG} ran aground off {LOC} in {DATE}.
The jury gave {PER} full marks and {PER} none.
Whoever holds bonds of {ORG} should read the notice of {DATE}.
Branches in {LOC}, {LOC} and {LOC} will close.
Not even {PER} dared to contradict {ORG}.
From the window {PER} saw the lights of {LOC}.
Thousands in {LOC} drink water that {ORG} bottles.
{PER} replaced {PER} at the top of {ORG} in {DATE}.
{thing} was invented neither in {LOC} nor by {PER}.
How long did {PER} serve as a {job} in {LOC}?
{ORG} and {ORG} want to launch {n} satellites together.
The trial of {PER} opens in {LOC} on {DATE}.
According to the {job}, {LOC} was never safe.
In {DATE}, {PER} swam from {LOC} to {LOC}.
No one thought {ORG} would survive {DATE}.
Her boss at {ORG}, {PER}, speaks fluent {thing}.
"{LOC} or {LOC}, what does it matter?" asked {PER}.
"""

TEST = """
Few people in {LOC} remember {PER}, who ran {ORG} until {DATE}.
{ORG} paid {PER} to stay away from {LOC}.
A spokeswoman for {ORG} confirmed on {DATE} that {PER} would retire.
The {job} took a bus from {LOC} to {LOC} and met {PER} there.
Had {PER} sold the shares in {DATE}, {ORG} would be bankrupt.
Though born in {LOC}, {PER} is a citizen of {LOC}.
Rumours about {ORG} reached {LOC} before {PER} did.
{PER} described {thing} as a waste of time.
Between {DATE} and {DATE}, {ORG} built {n} houses in {LOC}.
It was {PER}, not {PER}, who warned {ORG}.
Police in {LOC} arrested a former {job} of {ORG} on {DATE}.
My neighbour {PER} still drives to {LOC} for bread.
The statue of {PER} in {LOC} was removed in {DATE}.
Analysts expect {ORG} to overtake {ORG} soon.
Please forward this to {PER} and to the {thing} team at {ORG}.
Storms hit {LOC}, {LOC} and {LOC} within {n} hours.
{PER} learned {thing} in {LOC} during the war.
Founded in {DATE}, {ORG} employs {n} people.
The tower in {LOC}, designed by {PER}, leans a little.
{DATE}: {PER} resigns. {DATE}: {ORG} collapses.
Each {job} at {ORG} received a letter from {PER}.
What {ORG} calls progress, {LOC} calls noise.
Researchers led by {PER} measured the lake near {LOC} in {DATE}.
The orchestra from {LOC} will play for {ORG} in {LOC}.
Her uncle, {PER}, owned {n} hotels in {LOC} and a share of {ORG}.
Only {ORG} submitted a bid for the port of {LOC}.
Can {PER} save {ORG}? The {job} doubts it.
Mail for {PER} goes to {ORG}, {LOC}.
The last ferry to {LOC} left on {DATE} with {PER} on board.
{ORG} blamed {thing}, {thing} blamed nobody.
"""

THINGS = """
Bluetooth, Excel, Python, the Nobel Prize, GDPR, Linux, English, Latin, HTTP, the Bible, Bitcoin, Unicode, jazz, USB,
Brexit, Wi-Fi, the Internet, Morse code, DNA, Java, Gothic, the Euro, chess, MP3, Diesel, Android, the Renaissance
"""
JOBS = """
teacher, engineer, poet, plumber, banker, chemist, nurse, judge, pilot, baker, senator, goalkeeper, farmer, clerk,
director, sculptor, bishop, waiter, historian, sailor
"""
