import assert from "node:assert/strict"
import {describe, test} from "node:test"
import {runInNewContext} from "node:vm"

import {Serializer} from "../src/broadwing.js"
import {fromHex, toHex, vectors} from "../support/vectors.js"

const spoken = vectors.filter((vector) => vector.vsn === "2.0.0")
const encode = (message) => Serializer.encode(message, (encoded) => encoded)
const decode = (raw) => Serializer.decode(raw, (message) => message)

function payloadOf({payload, payload_hex}) {
  return payload_hex === undefined ? payload : fromHex(payload_hex)
}

/** ArrayBuffers become hex, so that two of them can be compared and read. */
function readable(value) {
  if (value instanceof ArrayBuffer) return {hex: toHex(value)}
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, readable(inner)]))
}

describe("a client's message becomes the wire of the shared vectors", () => { // checklist 286, 287
  for (const vector of spoken.filter(({direction, only}) => direction === "client" && only !== "decode")) {
    test(vector.name, () => {
      const message = {...vector.message, payload: payloadOf(vector.message)}
      if (vector.error) {
        assert.throws(() => encode(message), {message: new RegExp(`^unable to convert ${vector.error.field} to binary: `)})
      } else if (vector.opcode === "binary") {
        assert.equal(toHex(encode(message)), vector.wire)
      } else {
        assert.deepEqual(JSON.parse(encode(message)), JSON.parse(vector.wire))
      }
    })
  }
})

describe("the wire of a server becomes the message of the shared vectors", () => { // checklist 286, 288
  for (const vector of spoken.filter(({direction, only}) => direction === "server" && only !== "encode")) {
    test(vector.name, () => {
      const {status, join_ref, ref, topic, event} = vector.message
      const body = payloadOf(vector.message)
      const expected = {join_ref, ref, topic, event, payload: vector.kind === "reply" ? {status, response: body} : body}
      const raw = vector.opcode === "binary" ? fromHex(vector.wire) : vector.wire
      assert.deepEqual(readable(decode(raw)), readable(expected))
    })
  }
})

test("every vector carries its name, its source and a wire that fits its opcode", () => {
  assert.equal(new Set(vectors.map(({name, vsn, direction}) => `${name}|${vsn}|${direction}`)).size, vectors.length)
  for (const {name, source, opcode, wire, error} of vectors) {
    assert.ok(source, name)
    if (opcode === "binary" && wire !== null) assert.match(wire, /^([0-9a-f]{2})*$/, name)
    if (opcode === "text" && !error) assert.doesNotThrow(() => JSON.parse(wire), name)
    assert.equal(wire === null, error?.code === "field_too_long", name)
  }
})

test("refs that are not given become null", () => {
  assert.equal(encode({topic: "t", event: "e", payload: {}}), '[null,null,"t","e",{}]')
})

test("elements behind the fifth are ignored", () => {
  const message = {join_ref: null, ref: null, topic: "t", event: "e", payload: {}}
  assert.deepEqual(decode('[null,null,"t","e",{},{"later":1}]'), message)
})

test("a view sends its own window of the buffer", () => {
  const payload = Uint8Array.of(9, 101, 102, 103, 9).subarray(1, 4)
  // The example of version 2.0.0: join_ref "12", ref "123", "topic", "event", data 65 66 67.
  const wire = "0002030505" + "3132" + "313233" + "746f706963" + "6576656e74" + "656667"
  const fields = {join_ref: "12", ref: "123", topic: "topic", event: "event"}
  assert.equal(toHex(encode({...fields, payload})), wire)
  assert.equal(toHex(encode({...fields, payload: new DataView(payload.slice().buffer)})), wire)
})

test("a buffer of another realm is binary too", () => {
  const payload = runInNewContext("new Uint8Array([65]).buffer")
  assert.equal(payload instanceof ArrayBuffer, false)
  assert.equal(toHex(encode({join_ref: "1", ref: "2", topic: "t", event: "e", payload})), "0001010101" + "31327465" + "41")
})

test("binary data arrives in a buffer of its own", () => {
  const {payload} = decode(fromHex("020505746f7069636576656e74656667"))
  assert.ok(payload instanceof ArrayBuffer)
  assert.equal(payload.byteLength, 3)
})

test("a field keeps a byte order mark", () => {
  assert.equal(decode(fromHex("020401efbbbf7465")).topic, "\ufefft")
})

test("a binary frame of an unknown kind is refused by name", () => {
  assert.throws(() => decode(fromHex("0300")), /starts with 3; .*0 \(push\), 1 \(reply\) or 2 \(broadcast\)/)
  assert.throws(() => decode(new ArrayBuffer(0)), /starts with undefined/)
})

test("a truncated binary frame is refused", () => {
  assert.throws(() => decode(fromHex("020505746f706963")), /8 bytes whose header announces 13/)
  assert.throws(() => decode(fromHex("0102")), /2 bytes whose header announces/)
})

test("encode and decode return what the callback returns", () => {
  assert.equal(Serializer.encode({topic: "t", event: "e", payload: {}}, () => "encoded"), "encoded")
  assert.equal(Serializer.decode("[null,null,null,null,null]", () => "decoded"), "decoded")
})
