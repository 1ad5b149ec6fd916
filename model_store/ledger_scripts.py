"""What the ledger on Redis does in one atomic step each: Lua, run on the server.

KEYS of each: the hashes of totals, shards, window and clients, then one for each call id. ARGV:
milliseconds of a part of the window (0 without one), parts that are kept, then what each script
says. A call id holds what it drew, as part:amount.
"""

from typing import Final

FIELDS: Final = (
    "seen",
    "deferred",
    "settled",
    "reserved",
    "retried",
    "disagreeing",
    "refunded",
    "seen_before",
    "reserved_before",
    "refused",
    "spent",
)
"""Of the hash of totals, in the order of `Usage`; `drawn`, its last, is a sum over the window."""

# Amounts are formatted by hand: Lua writes large numbers as 1e+15.
_PRELUDE: Final = """
local totals, shards, window, clients = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local part_ms, kept = tonumber(ARGV[1]), tonumber(ARGV[2])
local part = 0
if part_ms > 0 then
  local now = redis.call('TIME')
  part = math.floor((now[1] * 1000 + now[2] / 1000) / part_ms)
end
local function number(key, field)
  return tonumber(redis.call('HGET', key, field) or 0)
end
local function drawn()
  local sum = 0
  local parts = part_ms > 0 and redis.call('HGETALL', window) or {}
  for i = 1, #parts, 2 do
    if tonumber(parts[i]) < part - kept then
      redis.call('HDEL', window, parts[i])
    else
      sum = sum + tonumber(parts[i + 1])
    end
  end
  return sum
end
local function draw(at, amount)
  if part_ms > 0 then
    redis.call('HINCRBY', window, at, string.format('%d', amount))
    redis.call('HINCRBY', totals, 'spent', string.format('%d', amount))
  end
end
local function draw_of(call)
  local at, amount = string.match(redis.call('GET', call) or '', '^(%d+):(%d+)$')
  return tonumber(at or 0), tonumber(amount or 0)
end
local function say(shard, counts)
  for i, field in ipairs({'seen', 'deferred'}) do
    local of_shard = field .. ':' .. shard
    local before = number(shards, of_shard)
    redis.call('HSET', shards, of_shard, string.format('%d', counts[i]))
    redis.call('HINCRBY', totals, field, string.format('%d', counts[i] - before))
  end
end
"""
# Returned by all that count: the epoch or nothing, the totals, what is counted by client.
_COUNTS: Final = """
local counts = redis.call('HMGET', totals, {})
counts[#counts + 1] = string.format('%d', drawn())
return {{redis.call('HGET', totals, 'epoch'), counts, redis.call('HGETALL', clients)}}
""".format(", ".join(f"'{field}'" for field in FIELDS))

USAGE: Final = _PRELUDE + _COUNTS

BEGIN: Final = f"""{_PRELUDE}
redis.call('HINCRBY', totals, 'seen_before', redis.call('HGET', totals, 'seen') or 0)
redis.call('HSET', totals, 'reserved_before', redis.call('HGET', totals, 'reserved') or 0)
redis.call('DEL', shards, clients)
redis.call('HDEL', totals, 'seen', 'deferred', 'settled', 'disagreeing')
redis.call('HDEL', totals, 'retried', 'refunded', 'refused')
redis.call('HSET', totals, 'epoch', ARGV[3])
{_COUNTS}"""
"""ARGV: the new epoch. Run twice, for a lost answer, it finds nothing left to add to before."""

PROGRESS: Final = f"""{_PRELUDE}
say(ARGV[3], {{tonumber(ARGV[4]), tonumber(ARGV[5])}})
{_COUNTS}"""
"""ARGV: the shard, its events seen and deferred."""

RAISE: Final = f"""{_PRELUDE}
local function job(epoch)
  return epoch and epoch:match('^[^.]+')
end
local told = cjson.decode(ARGV[3])
local epoch = redis.call('HGET', totals, 'epoch')
if not job(told.epoch) or not job(epoch) or job(told.epoch) == job(epoch) then
  local lost = epoch ~= told.epoch
  if not epoch or job(told.epoch) and not job(epoch) then
    redis.call('HSET', totals, 'epoch', told.next)
  end
  local base = number(totals, 'reserved')
  local held = redis.call('HGETALL', clients)
  for i = 1, #held, 2 do
    base = base - (held[i]:match('^granted:') and 1 or -1) * held[i + 1]
  end
  if told.base > base then
    lost = true
    redis.call('HINCRBY', totals, 'reserved', told.base - base)
  end
  for client, counts in pairs(told.spent) do
    for i, field in ipairs({{'granted:' .. client, 'returned:' .. client}}) do
      local more = counts[i] - number(clients, field)
      if more > 0 then
        lost = true
        redis.call('HINCRBY', clients, field, more)
        redis.call('HINCRBY', totals, 'reserved', i == 1 and more or -more)
      end
    end
  end
  if lost then
    local undrawn = told.drawn - drawn()
    if undrawn > 0 then
      draw(part, undrawn)
    end
    for field, count in pairs(told.totals) do
      if count > number(totals, field) then
        redis.call('HSET', totals, field, string.format('%d', count))
      end
    end
    for shard, counts in pairs(told.shards) do
      say(shard, counts)
    end
  end
end
{_COUNTS}"""
"""ARGV: what a client knows, as JSON: `epoch`; `next`, to set if there is none of its job; `base`
and `spent`, as in `witness.Sight`; `totals` that are told by nobody again; `drawn`; `shards`, as in
`PROGRESS`. Another job that has begun owes nothing to what was seen of the one before."""

RESERVE: Final = f"""{_PRELUDE}
local granted_to = 'granted:' .. ARGV[3]
if redis.call('HGET', totals, 'epoch') ~= ARGV[4]
  or number(clients, granted_to) < tonumber(ARGV[5]) then
  return false
end
local cap, ttl, limit = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[9])
local reserved = number(totals, 'reserved')
local sum = drawn()
local granted = {{}}
for i = 5, #KEYS do
  local before = redis.call('GET', KEYS[i])
  local amount = tonumber(ARGV[i + 5])
  local grant = 0
  if before then
    grant = 2
    redis.call('SET', KEYS[i], before, 'PX', ttl)
  elseif cap and reserved >= cap then
    grant = 0
  elseif limit and sum + amount > limit then
    redis.call('HINCRBY', totals, 'refused', 1 - ARGV[8])
  else
    grant = 1
    sum = sum + amount
    draw(part, amount)
    reserved = redis.call('HINCRBY', totals, 'reserved', 1)
    redis.call('HINCRBY', totals, 'retried', ARGV[8])
    redis.call('HINCRBY', clients, granted_to, 1)
    redis.call('SET', KEYS[i], string.format('%d:%d', part, amount), 'PX', ttl)
  end
  granted[#granted + 1] = grant
end
return {{granted, number(clients, granted_to)}}
"""
"""ARGV: the client, the epoch that it knows, what it knows to be granted to it; the cap or '', the
ttl, 1 for retries, the window's limit or '', the amount of each call. Returns nothing, and grants
nothing, in a ledger that has lost what the client knows; else the grants, and what the client was
granted in all."""

REFUND: Final = f"""{_PRELUDE}
for i = 5, #KEYS do
  local at, amount = draw_of(KEYS[i])
  if redis.call('DEL', KEYS[i]) == 1 then
    draw(at, -amount)
    redis.call('HINCRBY', totals, 'reserved', -1)
    redis.call('HINCRBY', clients, 'returned:' .. ARGV[4], 1)
    if ARGV[3] == '1' then
      redis.call('HINCRBY', totals, 'retried', -1)
    else
      redis.call('HINCRBY', totals, 'refunded', 1)
    end
  end
end
"""
"""ARGV: 1 for retries, the client."""

CORRECT: Final = f"""{_PRELUDE}
for i = 5, #KEYS do
  local at, amount = draw_of(KEYS[i])
  if redis.call('EXISTS', KEYS[i]) == 1 then
    local cost = tonumber(ARGV[i - 1])
    draw(at, cost - amount)
    redis.call('SET', KEYS[i], string.format('%d:%d', at, cost), 'PX', ARGV[3])
  end
end
"""
"""ARGV: the ttl, then what each call has cost."""
