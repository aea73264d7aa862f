export default {
  title: 'Runs', subtitle: 'Every run is pinned to the definition it started with and goes on after a restart.', workflow: 'Workflow', progress: 'Progress', duration: 'Time', by: 'By', none: 'Nothing has run yet.',
  shown: { all: 'All', active: 'Going on', failed: 'Failed' },
  count: { succeeded: 'succeeded', failed: 'failed', running: 'running', waiting: 'waiting', canceled: 'canceled', skipped: 'skipped', pending: 'pending' },
  type: { string: 'text', integer: 'whole number', number: 'number', boolean: 'yes or no', object: 'object (JSON)', array: 'list (JSON)' }, required: 'must be given',
  problem: { required: 'This must be given.', type: 'This is no {type}.', enum: 'This is not one of the allowed values.', json: 'This is no JSON of the type {type}.' }, fixParams: 'Some parameters are missing or wrong.',
  startTitle: 'Run {name}', noParams: 'This workflow has no parameters.', more: 'More', priority: 'Priority', wrongPriority: 'The priority is a whole number.', started: '{name} is started.',
  tab: { graph: 'Graph', gantt: 'Timeline', nodes: 'Nodes', details: 'Details' }, took: 'took {time}', createdAt: 'Created', cut: 'The first {n} rows are shown; the run has more.',
  params: 'Parameters', outputs: 'Outputs', commands: 'What people asked', again: 'A new run takes over what succeeded: {name}', asked: {
    pause: 'The run pauses: nothing new starts.', resume: 'The run goes on.', cancel: 'The run is being canceled.', retry: 'What failed is tried again.', rerun: 'It runs again.', skip: 'Skipped.', markSucceeded: 'Marked.', markFailed: 'Marked.', cancelNode: 'Canceled.', approve: 'Approved.', reject: 'Rejected.',
  },
  control: { pause: 'Pause', resume: 'Resume', cancel: 'Cancel run', retry: 'Retry failed', rerun: 'Run again', rerunFrom: 'Run again from here', skip: 'Skip', markSucceeded: 'Mark as succeeded', markFailed: 'Mark as failed', cancelNode: 'Cancel this node', approve: 'Approve', reject: 'Reject' },
  done: {
    pause: '{node}: paused', resume: '{node}: resumed', cancel: '{node}: canceled', retry: '{node} is tried again.', rerun: '{node} runs again, with all after it.', skip: '{node} is skipped.', markSucceeded: '{node} counts as succeeded.', markFailed: '{node} counts as failed.', cancelNode: '{node} is being canceled.',
    approve: '{node} is approved.', reject: '{node} is rejected.',
  },
  listComma: ', ', refusedRun: '{control}: the run is {phase}; possible when it is {allowed}.', refusedNode: '{control}: the node is {phase}; possible when it is {allowed}.',
  graphOf: 'Graph of run {name}', iteration: 'iteration {n}', iterationOf: '{n} of {total}', attempt: 'attempt {n}', iterationLabel: 'Iteration', notPinned: 'The run has not begun: it is pinned to a definition when it starts.', critical: 'Critical path', nothingStarted: 'Nothing has started yet.',
  startedAt: 'Started', attempts: 'Attempts', messageColumn: 'Message', nodePanel: 'Node {name}', output: 'Output', input: 'Input', logs: 'Log', due: 'Goes on', iterations: 'Iterations', reused: 'Taken over from an earlier run', controls: 'What can be done',
  message: 'Message (for the record)', markOutput: 'Output when marked as succeeded (JSON)', notNow: 'Not possible now', endedHint: 'The run has ended: running again makes a new run that takes over what stays.', inputGiven: 'As it was given, with expressions filled in.', inputWritten: 'As it is written; the engine does this itself.',
  grid: 'Recent runs', gridHint: 'the last {n}, newest on the right', approvals: 'Waits for you',
}
