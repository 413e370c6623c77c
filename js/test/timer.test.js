import assert from "node:assert/strict"
import {afterEach, beforeEach, mock, test} from "node:test"

import {Socket, Timer, reconnectAfterMs, rejoinAfterMs} from "../src/broadwing.js"
import {fakeTime, pass, realTime} from "../support/fakes.js"

beforeEach(fakeTime)
afterEach(() => {
  realTime()
  mock.restoreAll()
})

test("each try waits as long as the calculation says for its number, counted from 1", () => {
  const asked = []
  let fired = 0
  const timer = new Timer(() => fired++, (tries) => {
    asked.push(tries)
    return tries * 100
  })
  timer.scheduleTimeout()
  pass(95)
  assert.equal(fired, 0)
  pass(5)
  assert.equal(fired, 1)
  timer.scheduleTimeout()
  pass(195)
  assert.equal(fired, 1)
  pass(5)
  assert.equal(fired, 2)
  assert.deepEqual(asked, [1, 2])
})

test("scheduling again replaces the pending try and does not count it", () => {
  const asked = []
  let fired = 0
  const timer = new Timer(() => fired++, (tries) => asked.push(tries) && 100)
  timer.scheduleTimeout()
  pass(50)
  timer.scheduleTimeout()
  pass(95)
  assert.equal(fired, 0)
  pass(5)
  assert.equal(fired, 1)
  assert.deepEqual(asked, [1, 1])
  assert.equal(timer.pending, false)
})

test("reset cancels the pending try and counts from the beginning", () => {
  let fired = 0
  const timer = new Timer(() => fired++, () => 100)
  timer.scheduleTimeout()
  pass(100)
  assert.equal(timer.tries, 1)
  timer.scheduleTimeout()
  assert.equal(timer.pending, true)
  timer.reset()
  pass(200)
  assert.equal(fired, 1)
  assert.equal(timer.tries, 0)
})

test("reconnecting waits between half and all of a growing delay", () => {
  // Phoenix's table; its 10 ms become 50, so that the first retry has room for jitter too.
  const table = [50, 50, 100, 150, 200, 250, 500, 1000, 2000, 5000, 5000]
  let random = 0
  mock.method(Math, "random", () => random)
  for (const [index, longest] of table.entries()) {
    for (random of [0, 0.5, 0.999999]) {
      const delay = reconnectAfterMs(index + 1)
      assert.ok(delay >= longest / 2 && delay <= longest, `try ${index + 1}: ${delay} of ${longest}`)
    }
  }
})

test("clients that lose their server together come back apart", () => {
  const delays = new Set(Array.from({length: 200}, () => reconnectAfterMs(8)))
  assert.ok(delays.size > 50)
})

test("rejoining backs off from 1 s to 10 s", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 99].map(rejoinAfterMs), [1000, 2000, 5000, 10_000, 10_000, 10_000])
})

test("both are the socket's defaults", () => {
  const socket = new Socket("ws://example.com/socket")
  assert.equal(socket.reconnectAfterMs, reconnectAfterMs)
  assert.equal(socket.rejoinAfterMs, rejoinAfterMs)
})
