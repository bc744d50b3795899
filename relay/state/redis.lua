-- All that State asks of Redis, atomically. ARGV[1] says what, ARGV[2] the time in ms (0: this server's clock, the rule;
-- tests bring their own). All keys of a call share a hash tag. Answers: {what became of it, the time in ms, a value}.
--
-- Time is the server's, so it does not matter what time it is on the nodes. Every key but epochs and boards has a time to live.
--
-- The epoch of a hash tag is made once, "<ms>-<random>". Where it is not the one the asker knows, this Redis lost its data,
-- and nobody is granted anything for a time after it was made, so that all can tell what they have (restore, tell).

local now = tonumber(ARGV[2])
if now == 0 then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function text(number)
    return string.format('%.0f', number)
end

local function live_at_least(key, ms)
    if redis.call('PTTL', key) < ms then
        redis.call('PEXPIRE', key, text(ms))
    end
end

-- nil, or why nothing may be granted now
local function not_now(key, known, quiet)
    local epoch = redis.call('GET', key)
    if epoch ~= known then
        return {'epoch', now, 0}
    end
    local rest = tonumber(string.match(epoch, '^%d+')) + tonumber(quiet) - now
    if rest > 0 and rest <= tonumber(quiet) then -- more than all of it: the clock was set back since
        return {'rebuilding', now, rest}
    end
end

-- KEYS: granted (slot -> count), epoch. ARGV: epoch, quiet, limit, wanted, window, slice (0: calendar), and of a calendar
-- slot its number, begin and end. As relay/state/limits.py counts.
local function take()
    local refusal = not_now(KEYS[2], ARGV[3], ARGV[4])
    if refusal then
        return refusal
    end
    local limit, wanted, window, slice = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
    local slot, oldest, ends
    if slice == 0 then
        slot, ends = tonumber(ARGV[9]), tonumber(ARGV[11])
        if now < tonumber(ARGV[10]) or now >= ends then
            return {'another slot', now, now}
        end
        oldest = slot
    else
        slot = math.floor(now / slice)
        oldest = slot - 96
    end
    local function expiry(of)
        return slice == 0 and ends or (of + 97) * slice
    end
    local found, by_age, excess = redis.call('HGETALL', KEYS[1]), {}, wanted - limit
    for at = 1, #found, 2 do
        local of, count = tonumber(found[at]), tonumber(found[at + 1])
        if of < oldest then
            redis.call('HDEL', KEYS[1], found[at])
        else
            by_age[#by_age + 1] = {of, count}
            excess = excess + count
        end
    end
    if excess <= 0 then
        redis.call('HINCRBY', KEYS[1], text(slot), text(wanted))
        live_at_least(KEYS[1], expiry(slot) - now)
        return {'granted', now, slot}
    end
    table.sort(by_age, function(a, b) return a[1] < b[1] end)
    for _, pair in ipairs(by_age) do
        excess = excess - pair[2]
        if excess <= 0 then
            return {'wait', now, math.max(1, expiry(pair[1]) - now)}
        end
    end
    return {'wait', now, window}
end

-- KEYS: granted. ARGV: slice (0: calendar), and of a calendar slot its number. How many permits count now.
local function counted()
    local slice, found, sum = tonumber(ARGV[3]), redis.call('HGETALL', KEYS[1]), 0
    local oldest = slice == 0 and tonumber(ARGV[4]) or math.floor(now / slice) - 96
    for at = 1, #found, 2 do
        if tonumber(found[at]) >= oldest then
            sum = sum + tonumber(found[at + 1])
        end
    end
    return {'done', now, sum}
end

-- KEYS: granted, epoch. ARGV: epoch, time to live, then slot and count in turn: what the asker was granted before the data
-- was lost.
local function restore()
    if redis.call('GET', KEYS[2]) ~= ARGV[3] then
        return {'epoch', now, 0}
    end
    for at = 5, #ARGV, 2 do
        redis.call('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1])
    end
    live_at_least(KEYS[1], tonumber(ARGV[4]))
    return {'done', now, 0}
end

-- KEYS: leases of one thing (holder -> "count until"), epoch. ARGV: epoch, quiet, limit, holder, time to live
local function acquire()
    local refusal = not_now(KEYS[2], ARGV[3], ARGV[4])
    if refusal then
        return refusal
    end
    local limit, holder, ttl = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
    local found, held, mine = redis.call('HGETALL', KEYS[1]), 0, 0
    for at = 1, #found, 2 do
        local count, till = string.match(found[at + 1], '(%d+) (%d+)')
        if tonumber(till) <= now then
            redis.call('HDEL', KEYS[1], found[at])
        else
            held = held + count
            if found[at] == holder then
                mine = tonumber(count)
            end
        end
    end
    if held >= limit then
        return {'refused', now, 0}
    end
    redis.call('HSET', KEYS[1], holder, text(mine + 1) .. ' ' .. text(now + ttl))
    live_at_least(KEYS[1], ttl)
    return {'granted', now, 0}
end

-- KEYS: leases. ARGV: holder, count, time to live. So many it has, whatever was known before.
local function tell()
    redis.call('HSET', KEYS[1], ARGV[3], ARGV[4] .. ' ' .. text(now + ARGV[5]))
    live_at_least(KEYS[1], tonumber(ARGV[5]))
    return {'done', now, 0}
end

-- KEYS: leases. ARGV: holder
local function release()
    local count, till = string.match(redis.call('HGET', KEYS[1], ARGV[3]) or '0 0', '(%d+) (%d+)')
    if tonumber(count) > 1 then
        redis.call('HSET', KEYS[1], ARGV[3], text(count - 1) .. ' ' .. till)
    else
        redis.call('HDEL', KEYS[1], ARGV[3])
    end
    return {'done', now, 0}
end

-- KEYS: leases. ARGV: holder
local function drop()
    redis.call('HDEL', KEYS[1], ARGV[3])
    return {'done', now, 0}
end

-- KEYS: what a holder may hold leases of. ARGV: time to live, then more things
local function note()
    for at = 4, #ARGV do
        redis.call('SADD', KEYS[1], ARGV[at])
    end
    live_at_least(KEYS[1], tonumber(ARGV[3]))
    return {'done', now, 0}
end

-- The same. ARGV: things it holds no more
local function forget()
    for at = 3, #ARGV do
        redis.call('SREM', KEYS[1], ARGV[at])
    end
    return {'done', now, 0}
end

-- The same: all of them, once.
local function noted()
    local things = redis.call('SMEMBERS', KEYS[1])
    redis.call('DEL', KEYS[1])
    return {'done', now, things}
end

-- KEYS: epoch. ARGV: a random word, for the first who asks
local function epoch()
    redis.call('SET', KEYS[1], text(now) .. '-' .. ARGV[3], 'NX')
    return {'epoch', now, redis.call('GET', KEYS[1])}
end

-- KEYS: who shares this State, by when last heard of. ARGV: who asks, for how long one counts. How many there are.
local function beat()
    redis.call('ZADD', KEYS[1], text(now), ARGV[3])
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - ARGV[4]))
    live_at_least(KEYS[1], tonumber(ARGV[4]))
    return {'done', now, redis.call('ZCARD', KEYS[1])}
end

-- KEYS: whose a node's name is. ARGV: who asks, for how long it is its own. Whose it is.
local function claim()
    redis.call('SET', KEYS[1], ARGV[3], 'NX', 'PX', ARGV[4])
    local owner = redis.call('GET', KEYS[1])
    if owner == ARGV[3] then
        redis.call('PEXPIRE', KEYS[1], ARGV[4])
    end
    return {'done', now, owner}
end

-- KEYS: who shares this State. ARGV: who ends
local function leave()
    redis.call('ZREM', KEYS[1], ARGV[3])
    return {'done', now, 0}
end

-- KEYS: a board (name -> note). ARGV: name, note
local function pin()
    redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
    return {'done', now, 0}
end

-- KEYS: a board, epoch. ARGV: epoch, quiet, name. Not while notes may be missing that others are about to bring back.
local function unpin()
    local refusal = not_now(KEYS[2], ARGV[3], ARGV[4])
    return refusal or {'done', now, redis.call('HDEL', KEYS[1], ARGV[5])}
end

-- The same without a name: all of it, names and notes in turn
local function pinned()
    local refusal = not_now(KEYS[2], ARGV[3], ARGV[4])
    return refusal or {'done', now, redis.call('HGETALL', KEYS[1])}
end

-- KEYS: a board, epoch. ARGV: epoch, then name and note in turn: what the asker knew before the data was lost
local function repin()
    if redis.call('GET', KEYS[2]) ~= ARGV[3] then
        return {'epoch', now, 0}
    end
    for at = 4, #ARGV, 2 do
        redis.call('HSETNX', KEYS[1], ARGV[at], ARGV[at + 1])
    end
    return {'done', now, 0}
end

-- Octet by octet: Lua's own comparison asks the server's locale.
local function greater(one, other)
    for at = 1, math.min(#one, #other) do
        local a, b = string.byte(one, at), string.byte(other, at)
        if a ~= b then
            return a > b
        end
    end
    return #one > #other
end

-- KEYS: of each change the hashes that its mark may stand in (key -> "<until> <value>"), the latest first. ARGV: how many those
-- are, for how long a hash lives, then of each change what, key, value, how long. As relay/state/marks.py says.
local function mark()
    local each, lives, stood = tonumber(ARGV[3]), tonumber(ARGV[4]), {}
    for at = 1, #KEYS / each do
        local what, key, value, ms = ARGV[at * 4 + 1], ARGV[at * 4 + 2], ARGV[at * 4 + 3], tonumber(ARGV[at * 4 + 4])
        local stands, place = '', nil
        for number = (at - 1) * each + 1, at * each do
            local found = redis.call('HGET', KEYS[number], key)
            if found then
                local till, rest = string.match(found, '^(%d+) (.*)$')
                if tonumber(till) > now then
                    stands, place = rest, KEYS[number]
                    break
                end
            end
        end
        stood[at] = stands
        local mine = what == 'put' or stands == '' or (what == 'most' and greater(value, stands))
        if what == 'drop' then
            if place and string.sub(stands, 1, #value) == value then
                redis.call('HDEL', place, key)
            end
        elseif mine then
            local latest = KEYS[(at - 1) * each + 1]
            if place and place ~= latest then
                redis.call('HDEL', place, key)
            end
            redis.call('HSET', latest, key, text(now + ms) .. ' ' .. value)
            live_at_least(latest, lives)
        end
    end
    return {'done', now, stood}
end

local can = {
    take = take, counted = counted, restore = restore, acquire = acquire, tell = tell, release = release, drop = drop, note = note,
    forget = forget, noted = noted, epoch = epoch, beat = beat, claim = claim, leave = leave,
    pin = pin, unpin = unpin, pinned = pinned, repin = repin, mark = mark,
}
return can[ARGV[1]]()
