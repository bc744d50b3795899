-- All that State asks of Redis, atomically. ARGV[1] says what, ARGV[2] the time in ms (0: this server's clock, the rule;
-- tests bring their own). All keys of a call share a hash tag. Answers: {what became of it, the time in ms, a value}.
--
-- Time is the server's, so it does not matter what time it is on the nodes. Every key but epochs, boards, people and
-- buckets of sends has a time to live.
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

-- What people get: as relay/state/places.py says, which has the words for it. Sends are 7 octets each: second, mark. A place
-- is "kind mark at until priority since"; kinds: 0 waits, 1 holds, 2 firm.

local function sends_of(bucket, person)
    local blob, sends = redis.call('HGET', bucket, person) or '', {}
    for at = 1, #blob, 7 do
        local second, mark = struct.unpack('>I4I3', blob, at)
        sends[#sends + 1] = {second, mark}
    end
    return sends
end

local function by_age(one, other)
    return one[1] < other[1] or one[1] == other[1] and one[2] < other[2]
end

-- Those of `oldest` (s) and after it.
local function keep_sends(bucket, person, sends, oldest)
    table.sort(sends, by_age)
    local parts = {}
    for _, send in ipairs(sends) do
        if send[1] >= oldest then
            parts[#parts + 1] = struct.pack('>I4I3', send[1], send[2])
        end
    end
    if #parts == 0 then
        redis.call('HDEL', bucket, person)
    else
        redis.call('HSET', bucket, person, table.concat(parts))
    end
end

local function place_of(text)
    local kind, mark, at, till, priority, since = string.match(text, '(%d) (%d+) (%d+) (%d+) (%-?%d+) (%d+)')
    return {
        kind = tonumber(kind), mark = tonumber(mark), at = tonumber(at), till = tonumber(till),
        priority = tonumber(priority), since = tonumber(since),
    }
end

local function text_of(place)
    return string.format(
        '%d %d %.0f %.0f %d %.0f', place.kind, place.mark, place.at, place.till, place.priority, place.since
    )
end

-- By token; those whose lease is over are sends, or gone.
local function places_of(key, bucket, person, sends, grace)
    local found, places, ended = redis.call('HGETALL', key), {}, false
    for at = 1, #found, 2 do
        local place = place_of(found[at + 1])
        if now < place.till + (place.kind == 0 and grace or 0) then
            places[found[at]] = place
        else
            redis.call('HDEL', key, found[at])
            if place.kind == 2 then
                sends[#sends + 1] = {math.floor(place.at / 1000), place.mark}
                ended = true
            end
        end
    end
    if ended then
        keep_sends(bucket, person, sends, 0)
    end
    return places
end

-- A person's key is the end of what his places and facts stand under.
local function person_of(key)
    return string.sub(key, -16)
end

-- What is in the way of one wish among sends and places: number of the bound, ms to wait, how many marks, of each itself and how
-- often, and so on; and the longest wait. Nothing: it came with a calendar slot which is over.
local function in_the_way(bounds, sends, others)
    local full, longest = {}, 0
    for number, bound in ipairs(bounds) do
        local limit, window, begin, ends, counted = unpack(bound)
        if window > 0 then
            begin = math.floor(now / 1000) - window
        elseif now < begin * 1000 or now >= ends then
            return nil
        end
        local marks = {}
        for _, one in ipairs(counted) do
            marks[one] = 0
        end
        local used = {}
        for _, send in ipairs(sends) do
            if send[1] >= begin and marks[send[2]] then
                used[#used + 1] = send
                marks[send[2]] = marks[send[2]] + 1
            end
        end
        local count = #used
        for _, place in ipairs(others) do
            if marks[place.mark] then
                count = count + 1
                marks[place.mark] = marks[place.mark] + (place.kind == 0 and 0 or 1)
            end
        end
        if count >= limit then
            local wait = 0
            if #used >= limit and limit > 0 then
                table.sort(used, by_age)
                wait = window == 0 and ends - now or (used[#used - limit + 1][1] + 1 + window) * 1000 - now
            end
            longest = math.max(longest, wait)
            full[#full + 1] = number - 1
            full[#full + 1] = wait
            full[#full + 1] = 0
            local head = #full
            for mark, often in pairs(marks) do
                if often > 0 then
                    full[#full + 1] = mark
                    full[#full + 1] = often
                    full[head] = full[head] + 1
                end
            end
        end
    end
    return full, longest
end

-- What is in the way of one wish; and whether it has a place from now on, or waits at one.
local function ask(bucket, key, wish, grace, remembered)
    local token, mark, priority, since, lease, firm, waits, bounds = unpack(wish)
    local person = person_of(key)
    local sends = sends_of(bucket, person)
    local places = places_of(key, bucket, person, sends, grace)
    local had = places[token] and places[token].kind ~= 0
    places[token] = nil
    local others = {}
    for _, place in pairs(places) do
        local before = place.priority > priority or place.priority == priority and place.since < since
        if place.kind ~= 0 or not had and place.till <= now and before then
            others[#others + 1] = place
        end
    end
    local full, longest = in_the_way(bounds, sends, others)
    if not full then
        return nil
    elseif #full > 0 and not (waits and (firm or longest > 0)) then
        redis.call('HDEL', key, token)
        return full, false
    end
    local own = {
        kind = firm and 2 or 1, mark = mark, at = now, till = now + lease, priority = priority, since = since,
    }
    if #full > 0 then
        own.kind, own.till = 0, now + longest
    end
    redis.call('HSET', key, token, text_of(own))
    live_at_least(key, own.till - now + remembered)
    return full, true
end

-- KEYS: of each wish bucket of sends, places, facts; then the word on people, and the epoch. ARGV: epoch, quiet, grace, how long
-- a place is remembered, and JSON: of each wish token, mark, priority, since, lease, firm, waits, and its bounds: count, window
-- (0: calendar), begin (s), end (ms), marks.
-- Of each the person's facts and what is in the way, as `in_the_way` says. And whether people are known, as `about` says; where
-- they are lost, nobody has a place.
local function reserve()
    local refusal, word = not_now(KEYS[#KEYS], ARGV[3], ARGV[4]), redis.call('GET', KEYS[#KEYS - 1])
    if refusal then
        return refusal
    elseif word == 'lost' then
        return {'lost', now, 0}
    end
    local found, grace, remembered = {}, tonumber(ARGV[5]), tonumber(ARGV[6])
    for number, wish in ipairs(cjson.decode(ARGV[7])) do
        local first = number * 3 - 2
        local full, placed = ask(KEYS[first], KEYS[first + 1], wish, grace, remembered)
        if not full then
            return {'another slot', now, now}
        end
        if placed and not word then -- as `learn` does: what people got is missed like what is known of them
            redis.call('SET', KEYS[#KEYS - 1], 'known')
            word = 'known'
        end
        found[number] = {redis.call('HGETALL', KEYS[first + 2]), full}
    end
    return {'done', now, found, word and 1 or 0}
end

-- KEYS: places. ARGV: token, lease, how long a place is remembered
local function confirm()
    local found = redis.call('HGET', KEYS[1], ARGV[3])
    local place = found and place_of(found)
    if place and place.kind ~= 0 and place.till < now + ARGV[4] then
        place.till = now + ARGV[4]
        redis.call('HSET', KEYS[1], ARGV[3], text_of(place))
        live_at_least(KEYS[1], ARGV[4] + ARGV[5])
    end
    return {'done', now, 0}
end

-- KEYS: of each place bucket of sends, places. ARGV: how long sends are kept (s), and JSON: of each token, and when its mail arrived
-- (0: it did not).
local function settle()
    local oldest = math.floor(now / 1000) - ARGV[3]
    for number, one in ipairs(cjson.decode(ARGV[4])) do
        local bucket, key, token, at = KEYS[number * 2 - 1], KEYS[number * 2], one[1], one[2]
        local found = redis.call('HGET', key, token)
        if found then
            redis.call('HDEL', key, token)
            local place = place_of(found)
            if at > 0 and place.kind ~= 0 then
                local person = person_of(key)
                local sends = sends_of(bucket, person)
                sends[#sends + 1] = {at, place.mark}
                keep_sends(bucket, person, sends, oldest)
            end
        end
    end
    return {'done', now, 0}
end

-- KEYS: bucket of sends, places. ARGV: person, grace. Sends as they are kept, and the marks of places.
local function standing()
    local sends = sends_of(KEYS[1], ARGV[3])
    local under_way = {}
    for _, place in pairs(places_of(KEYS[2], KEYS[1], ARGV[3], sends, tonumber(ARGV[4]))) do
        if place.kind ~= 0 then
            under_way[#under_way + 1] = place.mark
        end
    end
    return {'done', now, {redis.call('HGET', KEYS[1], ARGV[3]) or '', under_way}}
end

-- KEYS: bucket of sends. ARGV: person, what is near enough (s), then second and mark in turn of sends that may be missing
local function recall()
    local sends, left, lost = sends_of(KEYS[1], ARGV[3]), {}, {}
    for at, send in ipairs(sends) do
        left[at] = send
    end
    for at = 5, #ARGV, 2 do
        local second, mark, same = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), nil
        for place, send in ipairs(left) do
            if send[2] == mark and math.abs(send[1] - second) <= tonumber(ARGV[4]) then
                same = place
                break
            end
        end
        if same then
            table.remove(left, same)
        else
            lost[#lost + 1] = {second, mark}
        end
    end
    if #lost > 0 then
        for _, send in ipairs(lost) do
            sends[#sends + 1] = send
        end
        keep_sends(KEYS[1], ARGV[3], sends, 0)
    end
    return {'done', now, #lost}
end

-- KEYS: bucket of sends. ARGV: how long sends are kept (s)
local function sweep()
    local oldest, people = math.floor(now / 1000) - ARGV[3], redis.call('HGETALL', KEYS[1])
    for at = 1, #people, 2 do
        if struct.unpack('>I4', people[at + 1]) < oldest then -- the older stand first
            keep_sends(KEYS[1], people[at], sends_of(KEYS[1], people[at]), oldest)
        end
    end
    return {'done', now, 0}
end

-- KEYS: a person's facts (name -> text), the tag's word on people. ARGV: how many are removed, their names, then name and
-- text in turn. That word is there where people are known, for who finds it gone; 'lost' while what was known is missing.
local function learn()
    local last = 3 + tonumber(ARGV[3])
    for at = 4, last do
        redis.call('HDEL', KEYS[1], ARGV[at])
    end
    for at = last + 1, #ARGV, 2 do
        redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
    end
    redis.call('SET', KEYS[2], 'known', 'NX')
    return {'done', now, 0}
end

-- KEYS: facts of persons, then the epoch and the word on people. ARGV: epoch, quiet, 1: whatever is left. Of each names and
-- texts in turn; and whether people are known.
local function about()
    local word = redis.call('GET', KEYS[#KEYS])
    if ARGV[5] ~= '1' then
        local refusal = not_now(KEYS[#KEYS - 1], ARGV[3], ARGV[4])
        if refusal then
            return refusal
        elseif word == 'lost' then
            return {'lost', now, 0}
        end
    end
    local found = {}
    for at = 1, #KEYS - 2 do
        found[at] = redis.call('HGETALL', KEYS[at])
    end
    return {'done', now, found, word and 1 or 0}
end

-- KEYS: the word on people. ARGV: what it is from now on; that they are lost is not said again of what was brought back.
local function word()
    if ARGV[3] ~= 'lost' or redis.call('GET', KEYS[1]) ~= 'brought back' then
        redis.call('SET', KEYS[1], ARGV[3])
    end
    return {'done', now, 0}
end

-- KEYS: one of this server's, which says nothing but where to look. ARGV: cursor, how many keys to look at, which are people's.
local function roll()
    return {'done', now, redis.call('SCAN', ARGV[3], 'COUNT', ARGV[4], 'MATCH', ARGV[5])}
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
        local answer = stands
        if what == 'take' then
            local times, limit = {}, tonumber(value)
            for one in string.gmatch(stands, '%d+') do
                if tonumber(one) > now - ms then
                    times[#times + 1] = one
                end
            end
            if #times >= limit then
                answer = text(tonumber(times[#times - limit + 1]) + ms - now)
            else
                answer, times[#times + 1] = '', text(now)
                what, value = 'put', table.concat(times, ' ')
            end
        end
        stood[at] = answer
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
    pin = pin, unpin = unpin, pinned = pinned, repin = repin,
    reserve = reserve, confirm = confirm, settle = settle, standing = standing, recall = recall, sweep = sweep,
    learn = learn, about = about, word = word, roll = roll,
    mark = mark,
}
return can[ARGV[1]]()
