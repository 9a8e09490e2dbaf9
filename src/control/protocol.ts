/**
 * How AgentApi travels: HTTP/1.1 on the UNIX socket, JSON both ways. An answer is 200 and the value, or a status of STATUS_OF and
 * `{error: {code, message}}`. Requests go as JSON in the body of a POST. `POST /v1/ping` answers a line of JSON per event, the last an error where one comes midway. `POST /v1/capture`
 * answers the bytes of a pcapng file for as long as it is listened to.
 */
import type { ApiErrorCode, PingEvent } from './api.js';

export const PATHS = {
  status: { method: 'GET', path: '/v1/status' },
  peers: { method: 'GET', path: '/v1/peers' },
  links: { method: 'GET', path: '/v1/links' },
  routes: { method: 'GET', path: '/v1/routes' },
  flows: { method: 'POST', path: '/v1/flows' },
  setFlows: { method: 'POST', path: '/v1/flows/set' },
  doctor: { method: 'GET', path: '/v1/doctor' },
  reload: { method: 'POST', path: '/v1/reload' },
  stop: { method: 'POST', path: '/v1/stop' },
  ping: { method: 'POST', path: '/v1/ping' },
  capture: { method: 'POST', path: '/v1/capture' },
} as const;

export type Call = keyof typeof PATHS;

export const STATUS_OF: Readonly<Record<ApiErrorCode, number>> = {
  'bad-request': 400,
  forbidden: 403,
  'not-found': 404,
  failed: 500,
  unavailable: 503,
};

export interface ErrorBody {
  error: { code: ApiErrorCode; message: string };
}

export type PingLine = PingEvent | ErrorBody;

/** Bytes of a request's body. */
export const MAX_BODY = 65536;
