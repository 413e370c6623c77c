import {readFileSync} from "node:fs"

/** A file of spec/vectors, which the tests of other languages read too; the README there explains the fields. */
export function load(name) {
  return JSON.parse(readFileSync(new URL(`../../spec/vectors/${name}`, import.meta.url), "utf8"))
}

/** The wire vectors shared with the server's tests. */
export const vectors = load("serializer.json")

export function fromHex(hex) {
  return Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16)).buffer
}

export function toHex(buffer) {
  return Buffer.from(buffer).toString("hex")
}
