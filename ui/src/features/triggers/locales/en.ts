export default {
  title: 'Triggers', subtitle: 'What starts workflows: the clock, changes, requests, conditions, other runs.', create: 'New trigger', source: 'Fires by', next: 'Next', last: 'Last', fired: 'Fired', missed: 'Missed', enabled: 'Enabled', none: 'No triggers yet.',
  sources: { cron: 'Clock', event: 'Event', webhook: 'Webhook', condition: 'Condition', run: 'Other run', manual: 'By hand' },
  schedule: 'Schedule', timezone: 'Time zone', policy: 'While a run goes on', catchUp: 'Make up for missed', eventType: 'Name of an event', changes: 'Changes', path: 'Path', secret: 'Secret', secretKey: 'Key in it', expression: 'Expression', forTime: 'True for', after: 'After runs of', phases: 'That ended',
  chooseWorkflow: 'Choose a workflow.', nextTimes: 'Next firings', isDisabled: 'It is disabled and fires nothing.', notByClock: 'It does not fire by the clock.', test: 'Test', fire: 'Fire now', backfill: 'Back-fill', backfillHint: 'Starts a run for every time in the span that has none.', tryBackfill: 'Show what would run', doBackfill: 'Start them',
  chooseSpan: 'Choose a span.', spanOrder: 'The span must begin before it ends.', wouldStart: '{n} would be started', didStart: '{n} started', known: '{n} were there already.', firings: 'What it did', noFirings: 'Nothing yet.', result: 'Result', reason: 'Why',
  results: { Started: 'started', Queued: 'queued', Missed: 'missed', Refused: 'refused' }, definition: 'Definition', enable: 'Enable', disable: 'Disable', deleteText: 'Delete the trigger {name}? Its runs stay.',
}
