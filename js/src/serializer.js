import {CHANNEL_EVENTS} from "./constants.js"
import {isBinary, toArrayBuffer, toBytes, utf8} from "./bytes.js"

/** First byte of a binary frame. A client only ever sends pushes. */
const PUSH = 0
const REPLY = 1
const BROADCAST = 2

/** Every length is one unsigned byte. */
const MAX_FIELD_BYTES = 255

/**
 * Wire format 2.0.0: `[join_ref, ref, topic, event, payload]` as JSON text, or a binary frame when the payload is
 * an ArrayBuffer (or a view of one, such as Uint8Array).
 */
export const Serializer = {
  /** @type {import("./types.js").Encode} */
  encode(message, callback) {
    if (isBinary(message.payload)) return callback(encodePush(message))
    const {join_ref, ref, topic, event, payload} = message
    return callback(JSON.stringify([join_ref ?? null, ref ?? null, topic, event, payload]))
  },

  /** @type {import("./types.js").Decode} */
  decode(raw, callback) {
    if (isBinary(raw)) return callback(decodeFrame(toBytes(raw)))
    const [join_ref, ref, topic, event, payload] = JSON.parse(raw)
    return callback({join_ref, ref, topic, event, payload})
  },
}

/**
 * `00 | len join_ref | len ref | len topic | len event | join_ref | ref | topic | event | data`
 *
 * @param {import("./types.js").Message} message
 */
function encodePush(message) {
  const fields = /** @type {const} */ (["join_ref", "ref", "topic", "event"]).map((name) => {
    const bytes = utf8(String(message[name] ?? ""))
    if (bytes.length > MAX_FIELD_BYTES) {
      throw new RangeError(
        `unable to convert ${name} to binary: it takes ${bytes.length} bytes of UTF-8 and a binary frame has room ` +
          `for ${MAX_FIELD_BYTES}; shorten it, or send the payload as JSON`,
      )
    }
    return bytes
  })
  const parts = [Uint8Array.of(PUSH, ...fields.map((field) => field.length)), ...fields, toBytes(message.payload)]
  const frame = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    frame.set(part, offset)
    offset += part.length
  }
  return frame.buffer
}

/**
 * @param {Uint8Array} frame
 * @returns {import("./types.js").Message}
 */
function decodeFrame(frame) {
  switch (frame[0]) {
    case PUSH: {
      const {fields: [join_ref, topic, event], data} = split(frame, 3)
      return {join_ref, ref: null, topic, event, payload: data}
    }
    case REPLY: {
      const {fields: [join_ref, ref, topic, status], data} = split(frame, 4)
      return {join_ref, ref, topic, event: CHANNEL_EVENTS.reply, payload: {status, response: data}}
    }
    case BROADCAST: {
      const {fields: [topic, event], data} = split(frame, 2)
      return {join_ref: null, ref: null, topic, event, payload: data}
    }
    default:
      throw new TypeError(
        `unable to decode a binary frame that starts with ${frame[0]}; in version 2.0.0 the server sends ` +
          `${PUSH} (push), ${REPLY} (reply) or ${BROADCAST} (broadcast)`,
      )
  }
}

/**
 * Reads `count` lengths behind the kind byte and the fields they announce.
 *
 * @param {Uint8Array} frame
 * @param {number} count
 */
function split(frame, count) {
  const decoder = new TextDecoder("utf-8", {ignoreBOM: true})
  let offset = 1 + count
  /** @type {string[]} */
  const fields = []
  for (const length of frame.subarray(1, 1 + count)) {
    fields.push(decoder.decode(frame.subarray(offset, offset + length)))
    offset += length
  }
  if (frame.length < offset) {
    throw new RangeError(`unable to decode a binary frame of ${frame.length} bytes whose header announces ${offset}`)
  }
  return {fields, data: toArrayBuffer(frame.subarray(offset))}
}
