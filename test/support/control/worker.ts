/** A worker's port of fixed answers, which notes what it was asked, for what stands before one. */
import type { FlowFilter, LinkReport } from '../../../src/agent/messages.js';
import type { FlowLists, WorkerPort } from '../../../src/agent/worker/port.js';
import type { FlowMatch } from '../../../src/intercept/flow-cache.js';

export class FakeWorker implements Pick<WorkerPort, 'report' | 'flows' | 'setFlows'> {
  readonly filters: FlowFilter[] = [];
  readonly wishes: { match: FlowMatch; service: number | null }[] = [];
  links: LinkReport[] = [];
  lists: Omit<FlowLists, 'type' | 'id'> = { outgoing: [], incoming: [] };
  /** How many flows match any wish. */
  matching = 1;

  report = () => Promise.resolve({ links: this.links, counters: {}, drops: {}, refusals: [] });

  flows = (filter: FlowFilter): Promise<FlowLists> => {
    this.filters.push(filter);
    return Promise.resolve({ type: 'flows', id: 1, ...this.lists });
  };

  setFlows = (match: FlowMatch, service: number | null): Promise<number> => {
    this.wishes.push({ match, service });
    return Promise.resolve(this.matching);
  };
}
