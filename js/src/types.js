/**
 * Shapes that more than one module speaks about; nothing here runs.
 *
 * @typedef {string|number|null|undefined} Ref Opaque to the server, which echoes it; this client makes decimal strings.
 *
 * @typedef {object} Message One message of the wire, in either direction.
 * @property {Ref} [join_ref] Which join of the topic it belongs to; empty for broadcasts.
 * @property {Ref} [ref] What a reply answers to; empty for pushes of the server.
 * @property {string} topic
 * @property {string} event
 * @property {any} payload Any JSON value, or an ArrayBuffer for a binary frame.
 *
 * @typedef {"closed"|"errored"|"joined"|"joining"|"leaving"} ChannelState
 * @typedef {"connecting"|"open"|"closing"|"closed"} ConnectionState
 *
 * @typedef {object} Transport The part of a browser's WebSocket that Socket uses; LongPoll and test doubles match it.
 * @property {number} readyState 0 connecting, 1 open, 2 closing, 3 closed.
 * @property {number} [bufferedAmount] More than zero while something sent has not left yet.
 * @property {string} [binaryType]
 * @property {number} [timeout] Milliseconds per request; set on every transport, read by LongPoll.
 * @property {boolean} [skipHeartbeat] The transport notices a dead server by itself.
 * @property {((event?: any) => void)|null} onopen
 * @property {((error?: any) => void)|null} onerror
 * @property {((event: any) => void)|null} onmessage
 * @property {((event: any) => void)|null} onclose
 * @property {(data: any) => void} send
 * @property {(code?: number, reason?: string) => void} close
 *
 * @typedef {new (endPoint: string, ...rest: any[]) => any} TransportClass A class of `Transport`s, made as
 * `new TransportClass(url, protocols)`. Loose, since the WebSockets of browsers and of Node's packages differ in their types.
 *
 * @typedef {{code: number, reason: string, wasClean: boolean}} CloseInfo What callbacks read from a close event.
 *
 * @typedef {(message: Message, callback: (encoded: string|ArrayBuffer) => any) => any} Encode
 * @typedef {(raw: any, callback: (message: Message) => any) => any} Decode
 *
 * @typedef {object} Memory As much of a browser's Storage as the fallback needs.
 * @property {(key: string) => string|null} getItem
 * @property {(key: string, value: string) => any} setItem
 *
 * @typedef {object} SocketOptions
 * @property {TransportClass} [transport] Default: the global WebSocket, else LongPoll.
 * @property {number} [longPollFallbackMs] Switch to LongPoll when the transport has not worked after this long.
 * @property {number} [timeout] Milliseconds a join or push waits for its reply; 10,000.
 * @property {number} [heartbeatIntervalMs] 30,000.
 * @property {(tries: number) => number} [reconnectAfterMs]
 * @property {(tries: number) => number} [rejoinAfterMs]
 * @property {number} [longpollerTimeout] Milliseconds per request of LongPoll; 20,000.
 * @property {object|(() => object)} [params] Query parameters of the connection.
 * @property {string|(() => string|null|undefined)} [authToken] Sent beside the URL, which tends to end up in logs.
 * @property {string} [vsn] Wire version; "2.0.0".
 * @property {Encode} [encode] Not used with LongPoll.
 * @property {Decode} [decode] Not used with LongPoll.
 * @property {string} [binaryType] "arraybuffer".
 * @property {((kind: string, message: string, data?: any) => void)|null} [logger]
 * @property {boolean} [debug] Log to the console.
 * @property {Memory} [sessionStorage] Memory of the fallback; the page's by default.
 */
export {}
