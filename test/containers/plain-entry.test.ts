/** The short way through a header's entry takes nothing that the long way would read otherwise. */
import { expect, test } from "bun:test"
import { scanPlainEntry } from "../../src/containers/plain-entry.ts"

const FIELDS = { dtype: "BF16", shape: [2, 30], dataBegin: 8, dataEnd: 128 }

test("entries as writers write them", () => {
  const compact = '{"dtype":"BF16","shape":[2,30],"data_offsets":[8,128]}'
  const python = '{"dtype": "BF16", "shape": [2, 30], "data_offsets": [8, 128]}'
  for (const text of [compact, python]) {
    expect(scanPlainEntry(`xx${text}, more`, 2)).toEqual({ ...FIELDS, end: 2 + text.length })
  }
  const scalar = '{"dtype":"F32","shape":[],"data_offsets":[0,4]}'
  expect(scanPlainEntry(scalar, 0)).toEqual({ dtype: "F32", shape: [], dataBegin: 0, dataEnd: 4, end: scalar.length })
})

test.each([
  '{"shape":[2],"dtype":"U8","data_offsets":[0,2]}',
  '{"dtype":"U8","shape":[2],"data_offsets":[0,2],"more":1}',
  '{"dtype":"U8 ","shape":[2],"data_offsets":[0,2]}',
  '{"dtype":"u8","shape":[2],"data_offsets":[0,2]}',
  '{"dtype":"","shape":[2],"data_offsets":[0,2]}',
  '{"dtype":"U8","shape":[02],"data_offsets":[0,2]}',
  '{"dtype":"U8","shape":[2,],"data_offsets":[0,2]}',
  '{"dtype":"U8","shape":[,2],"data_offsets":[0,2]}',
  '{"dtype":"U8","shape":[2.0],"data_offsets":[0,2]}',
  '{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}',
  '{"dtype":"U8","shape":[2],"data_offsets":[0,2,4]}',
  '{"dtype":"U8","shape":[2],"data_offsets":[2]}',
  '{"dtype":"U8","shape":[1234567890123456],"data_offsets":[0,2]}',
  '{"dtype":"U8","shape":[2],"data_offsets":[0,2]',
  '{"dtype":"U8","shape":[2',
  "",
])("left to the reader of fields: %s", (text) => {
  expect(scanPlainEntry(text, 0)).toBeUndefined()
})
