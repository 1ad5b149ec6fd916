"""What posts are made of, whatever they are about.

The moderation policy behind the labels: contempt for, or a threat to, the person addressed is
abusive. Harsh words about things, oneself or an absent stranger, and banter among friends, are
not. So the words alone do not decide; who they are aimed at does.

Insults are mild or invented on purpose, and none is about a protected group.
"""

from flink_job.demo.grammar import parse_rules

_TALK = """
plain: {topical} | {topical} | {topical} | {topical}, {feel} | {open} {topical}
open: honestly | hot take: | ok so | update: | quick question, | not going to lie, | call me old
    but | today I learned that | morning all, | unpopular opinion: | wow, | fun fact: | no idea
    why but | for what it is worth, | breaking: | hey {user}
feel: love it | what a day | I can't even | made my week | so tired of it | cannot wait | not sure
    how I feel | typical | absolutely shocking | a total disgrace | what a mess | proud of
    everyone | who else saw it | still shaking | worth every penny | awful stuff | hate to see it
    | it hurts | ridiculous | never again | the best thing all year
praise: brilliant | quietly superb | unreal | solid | a joy to watch | better than expected | on
    fire | class | immense | good value
blame: a disaster | poor | an embarrassment | all over the place | lazy | half asleep | out of
    ideas | shocking | a waste of money | a joke | rubbish
who: my dad | two mates from work | the kids | my sister | nobody, sadly | the neighbours | {user}
    | my old class | the whole street | gran
item: keys | umbrella | phone | scarf | charger | lunch | ticket | glasses
life: coffee first, then {thing} | rain again, so {thing} it is | made soup for {who} | can't
    sleep, reading about {thing} again | the bus was late because of {thing} | day {number} of
    waiting for {thing} | my cat slept through {thing}
number: 2 | 3 | 4 | 7 | 9 | 11 | 12 | 20 | 48 | 100
very: absolute | total | proper | complete | pathetic | massive | sad little
glad: 😂 | 🔥 | ❤️ | 👏 | 🙏 | 😅 | 🎉 | 👀
angry: 🤡 | 😡 | 🙄 | 💀 | 🗑️ | 🤮 | 😂 | 👀
"""

# Sarcasm that no reader could place without knowing the two people.
_AMBIGUOUS = """
ambiguous: nice one, genius | oh look, the expert on {thing} has spoken | cry more about {thing} |
    imagine being this wrong about {thing} | you people never learn | skill issue, {user} | you
    would say that, wouldn't you | go back to school and read about {thing} | stay mad | sit down,
    {user}, adults are talking about {thing} | tell me you never saw {thing} without telling me |
    bold of you to talk about {thing} | you must be fun at parties | sure, because you know so
    much about {thing} | not everyone needs your view on {thing} | delete this before {person}
    sees it | are you ok? nobody thinks that about {thing}
"""

# Frames of abuse: each era brings its own insult_frame, insult, wish, threat and contempt.
_ABUSIVE = """
abusive: {insult_frame} | {insult_frame} | {insult_frame}, {contempt} | {insult_frame}, {wish} |
    {contempt} | {contempt}, {wish} | {wish} | {threat} | {threat}, {user} | {threat}, you
    {insult}
"""

# The same words, aimed at oneself, at things, at strangers or at friends: not abusive.
_HEATED = """
heated: I am such a {insult}, left my {item} at {place} | {insult} that I am, I forgot {thing} |
    my dog is a {very} {insult} and I love him | some {insult} parked across {place} again | love
    you, you {very} {insult}, see you at {place} | felt like a {insult} explaining {thing} to
    {who} | {who} called me a {very} {insult} over {thing}, fair enough lol | happy birthday
    {user} you {insult}, drinks on me | who is the bigger {insult}, me or {who}? be honest |
    reported a guy who called {user} a {insult}, be kind out there | calling people a {insult}
    over {thing} helps nobody | {thing} is trash and I will keep saying it | {person} was killing
    it, {feel} | this queue at {place} will kill me | kill the lights, {thing} is on | if {thing}
    goes wrong again I will scream | laughing so hard at {thing}, {who} nearly killed me for it |
    {benign_echo} | {benign_echo} | {benign_echo}, {feel}
"""

SHARED = parse_rules(_TALK + _AMBIGUOUS + _ABUSIVE + _HEATED)

# The two halves of the authors' names.
HANDLES = parse_rules("""
first: amber | brave | calm | dusty | early | fuzzy | green | happy | icy | jolly | keen | lucky |
    mellow | noisy | old | plain | quiet | rusty | silver | tiny
second: anchor | badger | canal | dune | ember | falcon | gate | harbor | inkwell | jacket | kite |
    lantern | maple | needle | otter | pebble | quarry | rocket | sparrow | thistle
""")
