/** `import path from "….so" with { type: "file" }`: the path of the library; inside a compiled executable, of its embedded copy. */
declare module "*.so" {
  const path: string
  export default path
}
