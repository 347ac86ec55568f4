-- Requests that differ as real ones do: a path and an id of their own, the same headers.
local random = math.random
math.randomseed(7)

function request()
  local id = string.format("%08x-%04x-4%03x", random(0, 0x7fffffff), random(0, 0xffff), random(0, 0xfff))
  return wrk.format("GET", "/things/" .. random(1, 100000), {
    ["Host"] = "shop.example", ["User-Agent"] = "wrk", ["Accept"] = "*/*", ["X-Request-Id"] = id,
  })
end
