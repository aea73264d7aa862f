/** The API as the pages use it. */
export { api, fetchRaw, request, withQuery } from './client'
export { ApiError, UnreachableError } from './errors'
export { apiVersionOf, kinds, knownKind, pathOf, type KindRef } from './kinds'
export { at, conditionOf, conditionsOf, keyOf, number, text, type AnyObj, type Condition, type Obj, type ObjList } from './objects'
export { useList, useObject } from './useLive'
