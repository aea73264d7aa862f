import type en from './en'

const zh: typeof en = { title: '全部对象' }
export default zh
