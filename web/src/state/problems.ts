/** Errors as texts for users, in their language as far as the page has one for the error. */

import type { Problem } from '../api/client';
import { t } from '../language';

/** The part of a problem (RFC 9457) that is stored with a turn. */
export type ProblemDetails = Pick<Problem, 'type' | 'title' | 'detail'>;

/** The stable code of an error: the last part of its `type`. */
export function problemCode(problem: ProblemDetails): string {
  return problem.type.slice(problem.type.lastIndexOf('/') + 1);
}

export function problemTitle(problem: ProblemDetails): string {
  return t.problems.titles[problemCode(problem)] ?? problem.title;
}
