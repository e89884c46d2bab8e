/**
 * The smallest pieces, which page.js and acts.js both need. They import nothing: modules that
 * import each other cannot get hashed names, because each name would depend on the other.
 */

/** Show a notice above the page's numbers; level is info, good, warn or bad. Returns its element. */
export function notice(text, level = "info") {
  const line = element("p", { className: `notice ${level}` }, text);
  document.getElementById("notices").replaceChildren(line);
  return line;
}

/** Make an element: `element("td", { className: "num" }, "4 ms")`; children are nodes or texts. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  const { dataset = {}, ...rest } = properties;
  for (const [name, value] of Object.entries(rest)) {
    if (name in made) made[name] = value; else made.setAttribute(name, value);
  }
  Object.assign(made.dataset, dataset);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
