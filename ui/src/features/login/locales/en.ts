export default {
  title: 'Sign in to Plum',
  how: 'Show a token once; this browser then stays signed in for a while.',
  ended: 'Your session has ended. Sign in again to go on where you were.',
  token: 'Token',
  signIn: 'Sign in',
  refused: 'That is not known here. A token may have been revoked or have expired; a link works once, and for some minutes.',
  here: 'Go on without signing in, as the person at this machine',
  link: 'A link that signs you in, without typing anything, is made by',
}
