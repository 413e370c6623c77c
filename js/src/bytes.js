/**
 * Whether a value travels as a binary frame.
 *
 * Asks for the tag, not `instanceof`, so that buffers of another realm (iframe, worker, node:vm) count too.
 *
 * @param {any} value
 * @returns {value is ArrayBuffer|ArrayBufferView}
 */
export function isBinary(value) {
  return ArrayBuffer.isView(value) || Object.prototype.toString.call(value) === "[object ArrayBuffer]"
}

/**
 * The bytes of a buffer or of a view's window into one.
 *
 * @param {ArrayBuffer|ArrayBufferView} data
 */
export function toBytes(data) {
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data)
}

/** @param {string} text */
export function utf8(text) {
  return new TextEncoder().encode(text)
}

/**
 * Standard alphabet, with padding.
 *
 * @param {Uint8Array} bytes
 */
export function toBase64(bytes) {
  let binary = ""
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary)
}

/** @param {string} text */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
}

/**
 * The bytes alone in a buffer of their own, as a WebSocket with binaryType "arraybuffer" would deliver them.
 *
 * @param {Uint8Array} bytes
 */
export function toArrayBuffer(bytes) {
  return /** @type {ArrayBuffer} */ (bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
}
