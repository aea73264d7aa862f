export default {
  title: 'Tasks', subtitle: 'One-off work: what is done, by whom, and how often it is tried.', runs: 'Runs', definitions: 'Definitions', executor: 'Done by', retries: 'Retries', task: 'Task', where: 'Where', noDefinitions: 'No task definitions yet.', noRuns: 'No runs yet.',
  executors: { embedded: 'worker or controller', service: 'service', os_process: 'process on a node', container: 'container on a node', http: 'HTTP address', plugin: 'plugin' },
  runTitle: 'Run {name}', asYaml: 'Write the payload as YAML', payload: 'Payload (YAML)', payloadMap: 'This must be a map of names and values.', noAttempts: 'It has not been tried yet.', exitCode: 'exit code {code}', follow: 'Follow', previous: 'Attempt before', download: 'Download', keptEnd: 'The end that was kept is shown.', noOutput: 'Nothing was written.',
  hasEnded: 'It has ended.', isCanceling: 'It is being canceled already.', stillRuns: 'It has not ended yet.', cancelAsked: 'It is being canceled.', again: 'Run again', nextAttempt: 'Next attempt', does: 'What it does',
}
