import { beforeEach } from 'vitest';
import { Server } from './server';

/** The server of the current test. */
export let server = new Server();

globalThis.fetch = (input, init) =>
  server.fetch(input instanceof Request ? input : new Request(input, init));

beforeEach(() => {
  server = new Server();
  sessionStorage.clear();
  localStorage.clear();
});
