import assert from "node:assert/strict"
import {test} from "node:test"

import {appendParams} from "../src/query.js"

test("parameters are appended behind ? or &", () => {
  assert.equal(appendParams("/socket", {a: 1}), "/socket?a=1")
  assert.equal(appendParams("/socket?x=y", {a: 1, b: true}), "/socket?x=y&a=1&b=true")
  assert.equal(appendParams("/socket", {}), "/socket")
})

test("nested parameters use brackets, as Plug reads them", () => {
  assert.equal(decodeURIComponent(appendParams("/s", {a: {b: 1, c: {d: 2}}})), "/s?a[b]=1&a[c][d]=2")
  assert.equal(decodeURIComponent(appendParams("/s", {list: ["x", "y"]})), "/s?list[0]=x&list[1]=y")
})

test("names and values are percent-encoded", () => {
  assert.equal(appendParams("/s", {"ü&": "a=b c☃"}), "/s?%C3%BC%26=a%3Db%20c%E2%98%83")
})

test("null and undefined are left out", () => {
  assert.equal(appendParams("/s", {token: undefined, user: null}), "/s")
  assert.equal(appendParams("/s", {token: undefined, zero: 0, empty: ""}), "/s?zero=0&empty=")
})
