import type en from './en'

const zh: typeof en = { title: '概览' }
export default zh
