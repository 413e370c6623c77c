import {readFileSync} from "node:fs"

const file = new URL("../../spec/vectors/serializer.json", import.meta.url)

/** The wire vectors shared with the server's tests; spec/vectors/README.md explains the fields. */
export const vectors = JSON.parse(readFileSync(file, "utf8"))

export function fromHex(hex) {
  return Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16)).buffer
}

export function toHex(buffer) {
  return Buffer.from(buffer).toString("hex")
}
