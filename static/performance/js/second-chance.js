/**
 * What the edge did not give is fetched from the origin, once: for a page that was written, or kept
 * by a browser, before the edge was taken out. A classic script, so that it runs before the rest.
 */
(() => {
  const edge = document.currentScript.dataset.edge;
  const tried = new Set();

  addEventListener("error", ({ target }) => {
    const attribute = target instanceof HTMLLinkElement ? "href" : "src";
    const address = target instanceof Element ? target[attribute] : undefined;
    if (typeof address !== "string" || !address.startsWith(`${edge}/`) || tried.has(address)) return;
    tried.add(address);
    const again = address.slice(edge.length);
    if (target instanceof HTMLScriptElement) replace(target, again);
    else if (target instanceof HTMLLinkElement && target.rel !== "stylesheet") target.remove();
    else if (target instanceof HTMLImageElement) picture(target, again);
    else target[attribute] = again;
  }, true); // errors of elements do not bubble, and are caught on their way down only

  /** A script that failed stays failed: only another element is fetched anew. */
  function replace(old, address) {
    const made = document.createElement("script");
    for (const { name, value } of old.attributes) if (name !== "integrity") made.setAttribute(name, value);
    made.async = false; // in the order of the page, as the first one was
    made.src = address;
    old.replaceWith(made);
  }

  /** The sources before a picture lead to the edge too. */
  function picture(image, address) {
    for (const source of image.closest("picture")?.querySelectorAll("source") ?? []) source.remove();
    image.removeAttribute("srcset");
    image.src = address;
  }
})();
