/** Traffic classes of a session, each a lane with a key, a counter and a replay window of its own (docs/wire-format.md). */
export const LANE_CONTROL = 0;
export const LANE_BEST_EFFORT = 1;
/** Records of these two are numbered, so that lost ones can be told and repeated. */
export const LANE_RELIABLE = 2;
export const LANE_REALTIME = 3;
export const LANES = 4;
