import { describe, expect, it } from 'vitest';
import * as echo from '../../../src/overlay/wire/echo.js';
import * as error from '../../../src/overlay/wire/error.js';
import {
  FRAME_ECHO_REPLY,
  FRAME_ECHO_REQUEST,
  readRoutedType,
  writeRoutedHeader,
} from '../../../src/overlay/wire/routed.js';

const AT = 3;
const view = (): DataView => new DataView(new ArrayBuffer(512));
const request = (): DataView => {
  const v = view();
  writeRoutedHeader(v, AT, FRAME_ECHO_REQUEST, 0, 0, 0, 64, 1, 2, 3, 0, 5, 6);
  echo.writeEchoBody(v, AT, 77, 3, 2 ** 40 + 9);
  return v;
};

describe('error frame', () => {
  it('carries code, MTU and the refused packet', () => {
    const v = view();
    expect(error.writeErrorBody(v, AT, error.ERROR_TOO_BIG, 1280, 0xabcdef01, 0xfffffffe)).toBe(36);
    expect(Buffer.from(v.buffer, AT + 24, 12).toString('hex')).toBe('03000500' + 'abcdef01' + 'fffffffe');
    expect(error.decodeError(v, AT, 36)).toEqual({
      type: 'error',
      code: 3,
      mtu: 1280,
      destination: 0xabcdef01,
      sequence: 0xfffffffe,
    });
  });

  it.each([
    ['short', 35, error.ERROR_NO_ROUTE, 0],
    ['long', 37, error.ERROR_NO_ROUTE, 0],
    ['unknown-value', 36, 0, 0],
    ['unknown-value', 36, 5, 0],
    ['inconsistent', 36, error.ERROR_TOO_BIG, 0],
    ['inconsistent', 36, error.ERROR_PROHIBITED, 1280],
  ] as const)('is rejected as %s with %i bytes, code %i, MTU %i', (reason, length, code, mtu) => {
    const v = view();
    error.writeErrorBody(v, AT, code, mtu, 1, 2);
    expect(error.decodeError(v, AT, length)).toEqual({ type: 'reject', reason });
  });
});

describe('echo frame', () => {
  it('gathers the nodes of the way there and of the way back', () => {
    const v = request();
    let length = echo.appendEchoHop(v, AT, echo.ECHO_MIN_SIZE, 400, 11);
    length = echo.appendEchoHop(v, AT, length, 400, 0xfffffff2);
    expect(echo.decodeEcho(v, AT, length)).toMatchObject({ there: [11, 0xfffffff2], back: [] });
    echo.turnEcho(v, AT);
    length = echo.appendEchoHop(v, AT, length, 400, 11);
    length = echo.appendEchoHop(v, AT, length, 400, 1);
    expect(readRoutedType(v, AT)).toBe(FRAME_ECHO_REPLY);
    expect(echo.decodeEcho(v, AT, length)).toEqual({
      type: 'echo',
      identifier: 77,
      number: 3,
      clock: 2 ** 40 + 9,
      there: [11, 0xfffffff2],
      back: [11, 1],
    });
  });

  it('stops growing at 64 hops and still decodes', () => {
    const v = request();
    let length = echo.ECHO_MIN_SIZE;
    for (let i = 1; i <= 70; i++) length = echo.appendEchoHop(v, AT, length, 500, i);
    expect(length).toBe(42 + 4 * 64);
    expect(echo.decodeEcho(v, AT, length)).toMatchObject({
      there: Array.from({ length: 64 }, (_, i) => i + 1),
    });
  });

  it('is left alone where there is no room for a hop', () => {
    const v = request();
    expect(echo.appendEchoHop(v, AT, 42, 45, 9)).toBe(42);
    expect(echo.appendEchoHop(v, AT, 42, 46, 9)).toBe(46);
  });

  it('is rejected when its list and its length disagree', () => {
    const v = request();
    expect(echo.decodeEcho(v, AT, 41)).toEqual({ type: 'reject', reason: 'short' });
    expect(echo.decodeEcho(v, AT, 43)).toEqual({ type: 'reject', reason: 'long' });
    v.setUint8(AT + 41, 65);
    expect(echo.decodeEcho(v, AT, 42 + 4 * 65)).toEqual({ type: 'reject', reason: 'unknown-value' });
    v.setUint8(AT + 41, 2);
    expect(echo.decodeEcho(v, AT, 46)).toEqual({ type: 'reject', reason: 'short' });
    v.setUint8(AT + 40, 1);
    expect(echo.decodeEcho(v, AT, 50)).toEqual({ type: 'reject', reason: 'inconsistent' });
    v.setUint8(AT, FRAME_ECHO_REPLY);
    expect(echo.decodeEcho(v, AT, 50)).toMatchObject({ type: 'echo', there: [0] });
    v.setUint8(AT + 40, 3);
    expect(echo.decodeEcho(v, AT, 50)).toEqual({ type: 'reject', reason: 'inconsistent' });
  });
});
