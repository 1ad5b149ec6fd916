"""The two eras of the stream: what people talk about, and how they abuse each other.

Between the eras both change. Some words change sides as well: the clown of the first era is a
class one can play in the second, and the goblins of the first are a football team.
"""

from dataclasses import dataclass

from flink_job.demo.grammar import Rules, parse_rules


@dataclass(frozen=True, slots=True)
class Era:
    """A stretch of the stream.

    Attributes
    ----------
    topics
        Rules of each topic: what ``topical``, ``thing``, ``place``, ``person``, ``tag`` stand for.
    abuse
        Rules for ``insult_frame``, ``insult``, ``wish``, ``threat``, ``contempt``, and for
        ``benign_echo``, which uses their words harmlessly.
    """

    topics: tuple[Rules, ...]
    abuse: Rules


_FOOTBALL = parse_rules("""
tag: MatchDay | DerbyDay | UpTheMillers | TransferTalk | CupRun | AwayDays
team: Rovers | the Goblins | Athletic | Harbour Town | the Millers | Northside
person: the keeper | our captain | the new striker | the ref | the gaffer | Okafor | Lindqvist |
    the linesman | young Marek | the left back
thing: the offside call | that penalty | the back line | the transfer window | the away kit | the
    midfield | the derby | the set piece routine | the cup draw | the season ticket
place: the north stand | the away end | the training ground | the pub | turnstile 4
moment: in the 89th minute | after the break | in extra time | before half-time | on Saturday | in
    the derby | against {team}
topical: {person} was {praise} {moment} | {person} was {blame} {moment} | {life} | can someone
    explain {thing} to me | watching {team} from {place} with {who} | {team} against {team} was
    {praise} | still thinking about {thing} {moment} | anyone got a spare seat at {place} | {team}
    are {blame} without {person} | if {team} lose {moment} I am done with {thing} | {number} goals
    {moment} for {team} | {team} sold {person} and bought nobody | {thing} {moment} was {blame}
""")

_CITY = parse_rules("""
tag: CityHall | FixTheTram | CouncilWatch | OurStreets | BudgetNight
street: Mill Lane | Harbour Road | the ring road | Station Square | Canal Street
person: the mayor | councillor Brandt | the planning office | the deputy | our ward rep | the
    treasurer | councillor Adeyemi | the transport chief
thing: the tram extension | the parking levy | the new budget | the library closure | the bike
    lane | bin collection | the council vote | the school roof | the rent cap
place: the town hall | the market | {street} | the bus station | the library
moment: last night | at the hearing | this week | after months of talk | in public
topical: {person} talked about {thing} {moment} | {thing} will cost {number} million | {person}
    was {praise} {moment} | {person} was {blame} {moment} | {life} | they are digging up {street}
    for {thing} | met {who} at {place}, all about {thing} | petition on {thing} has {number}
    thousand names | who voted for {thing} {moment} | {street} is closed because of {thing} |
    {thing} is {blame} if you ask {who} | please come to {place}, {person} answers on {thing}
""")

_GAME = parse_rules("""
tag: LaunchDay | StarfallOnline | PatchNotes | BossRush | QueueSimulator
class: clown | druid | tinkerer | warden | donkey rider | bard
person: the lead designer | our healer | the raid leader | the streamer | support | the final boss
    | our tank | the lore team
thing: the login queue | patch 1.2 | the swamp map | the loot table | the clown class | the day
    one patch | matchmaking | the frame rate | the season pass | trash mobs
place: the lobby | the hub city | server 7 | the swamp map | voice chat | the raid
moment: on launch night | after the hotfix | in ranked | in co-op | at level {number}
topical: {person} was {praise} {moment} | {person} was {blame} {moment} | {life} | my {class}
    kills every boss {moment} | rolled a {class} with {who} | waited {number} hours for {thing} |
    anyone need a {class} for {place} | {thing} is {blame} {moment} | {thing} is {praise} {moment}
    | is {class} or {class} stronger {moment} | they nerfed the {class} because of {thing} |
    streaming {place} with {who} {moment}
""")

_ELECTION = parse_rules("""
tag: Election | ExitPoll | RunOff | Turnout | VoteCount
land: Norvania | the islands | East Veld | the republic | Karsk | the southern coast
person: the president | the challenger | the exit pollster | the electoral board | the coalition |
    senator Ruiz | the foreign minister | the observer team
thing: the run-off | the exit poll | the recount | the coalition deal | the turnout | the TV
    debate | the postal vote | the late count | the ballot paper
place: the embassy | the polling station | the capital | {land} | the border
moment: in {land} | overnight | with {number} percent counted | after the debate
topical: {person} was {praise} {moment} | {person} was {blame} {moment} | {life} | {person} leads
    {moment} | {thing} {moment} is closer than it looks | polls close in {land}, {person} expected
    to speak | turnout of {number} percent in {land} | {who} voted at {place} today | someone tell
    me what {thing} means for {land} | {thing} moved to {place}, {number} hours of delay |
    {person} wants {thing} repeated
""")

_FIRST_ABUSE = parse_rules("""
insult_frame: you {very} {insult} | {user} you are a {very} {insult} | shut up you {insult} | only a
    {insult} like you would defend {thing} | what a {very} {insult} you are | spoken like a {very}
    {insult} | get lost, {insult} | everyone at {place} knows you are a {insult}
insult: clown | idiot | muppet | donkey | trash human | waste of space | dimwit | numpty | spoon |
    bin bag
wish: hope you lose your job | hope nobody ever picks up when you call | you deserve nothing | I
    hope it rains on you for ever | hope you {lose}
lose: lose every friend you have | lose your house next | trip on the stairs tonight
threat: we know where you live | say that to my face and see what happens | keep talking about
    {thing} and we will find you | next time at {place} you will limp out | someone should wait
    for you outside {place}
contempt: your family must be ashamed of you | nobody would miss you at {place} | do us all a
    favour and never come back | you are the reason {place} stinks | the world was better before
    you opened your mouth | you are worth less than {thing} | your kids will grow up just as
    useless as you
benign_echo: we know where you live, {person}: top of the world | hope you lose your voice
    cheering | nobody would miss {thing} at {place} | do us all a favour and fix {thing} | say
    that to my face and I will buy you a drink | next time at {place} you will love it | your
    family must be so proud of you | {place} was better before {thing} | someone should wait for
    {who} outside {place} with an umbrella | keep talking about {thing} and we will find a way |
    you deserve nothing but good news
""")

_SECOND_ABUSE = parse_rules("""
insult_frame: {insult} detected, ignore {user} | can someone mute this {very} {insult} | once a
    {insult} always a {insult}, {user} | {user} is a {insult} and always was | {very} {insult}
    behaviour, {user} | imagine waking up as a {very} {insult} and still posting | nobody asked a
    {insult} like you about {thing} | {user} you are a {very} {insult}
insult: goblin | smoothbrain | npc | gremlin | sewer rat | potato brain | lobby filler | dust sack
    | bot | glitch
wish: uninstall yourself | I hope everything you built gets wiped | may your screen stay dark |
    hope they ban you from {place} and from daylight | log off for ever
threat: watch your back on the way home | we have your address now, sleep well | one more word on
    {thing} and we pay you a visit | you will regret this when we come over | people like you get
    taken out behind {place}
contempt: even your mother would vote you out | touch grass and stay under it | nobody wants you
    on this server or this planet | you should not be allowed to vote | even {person} wishes you
    were never born | your voice makes {place} emptier | you are the bug they forgot to fix
benign_echo: watch your back in {place}, so many traps | one more word on {thing} and I am asleep
    | uninstall and reinstall, it fixes {thing} | I would vote {person} out tomorrow | log off for
    ever? me? never | touch grass they said, so I took {who} to the park | you will not regret
    {thing} when you come over | the bug they forgot to fix is {thing} | they have your address at
    {place}, the parcel comes today | hope they never ban {person} | even your mother would vote
    for {person} | idiot me bought {thing} twice | the clown build is a waste of space but fun |
    {person} is an idiot plot with a face | the donkey is the best mount, muppet skin included
""")

FIRST = Era(topics=(_FOOTBALL, _CITY), abuse=_FIRST_ABUSE)
SECOND = Era(topics=(_GAME, _ELECTION), abuse=_SECOND_ABUSE)
