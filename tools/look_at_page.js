// What does not fit or cannot be read on the page that is open; tools/look_at_site.py runs this and prints what it returns.
const faults = [];
const width = document.documentElement.clientWidth;

function name(element) {
  const text = (element.textContent || "").trim().slice(0, 40);
  return `${element.tagName.toLowerCase()}.${String(element.getAttribute("class") || "").trim().replace(/\s+/g, ".")} "${text}"`;
}

function isShown(element) {
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  const seen = style.visibility !== "hidden" && style.display !== "none" && box.width > 1 && box.height > 1;
  return seen && element.closest("dialog, .visually-hidden, svg") === null;
}

function scrollsByItself(element) {
  for (let outer = element; outer && outer !== document.body; outer = outer.parentElement)
    if (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(outer).overflowX)) return true;
  return false;
}

// -- width --
// The article as a whole scrolls by itself too, and should have no need to.
for (const article of document.querySelectorAll(".bd-article-container"))
  if (article.scrollWidth > article.clientWidth + 1)
    faults.push(`the article is ${article.scrollWidth} wide where ${article.clientWidth} are seen`);
const everything = [...document.querySelectorAll(".bd-main *, footer *, header *")].filter(isShown);
if (document.documentElement.scrollWidth > width + 1)
  faults.push(`the page is ${document.documentElement.scrollWidth} wide in a window of ${width}`);
for (const element of everything) {
  const box = element.getBoundingClientRect();
  if (box.right > width + 1 && box.left < width && !scrollsByItself(element)) {
    faults.push(`sticks out: ${name(element)}`);
    break;
  }
}

// -- contrast, as WCAG 2.2 defines it --
function parse(colour) {
  const numbers = colour.match(/[\d.]+/g).map(Number);
  const scale = colour.startsWith("color(") ? 255 : 1;
  return [...numbers.slice(0, 3).map((value) => value * scale), numbers.length > 3 ? numbers[3] : 1];
}

function over(top, below) {
  return [0, 1, 2].map((k) => top[k] * top[3] + below[k] * (1 - top[3]));
}

function backgroundOf(element) {
  const layers = [];
  for (let outer = element; outer; outer = outer.parentElement) {
    const colour = parse(getComputedStyle(outer).backgroundColor);
    if (colour[3] > 0) layers.push(colour);
    if (colour[3] === 1) break;
  }
  const paper = document.documentElement.dataset.theme === "dark" ? [0, 0, 0] : [255, 255, 255];
  return layers.reverse().reduce((below, top) => over(top, below), paper);
}

function luminance(colour) {
  const [red, green, blue] = colour.map((value) => {
    const share = value / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

const weak = new Map();
for (const element of everything) {
  if (![...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim())) continue;
  const style = getComputedStyle(element);
  if (parseFloat(style.opacity) === 0) continue;
  const background = backgroundOf(element);
  const [dim, bright] = [luminance(over(parse(style.color), background)), luminance(background)].sort((a, b) => a - b);
  const ratio = (bright + 0.05) / (dim + 0.05);
  const size = parseFloat(style.fontSize);
  const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const kind = `${element.className} ${style.color}`;
  if (ratio < (isLarge ? 3 : 4.5) && !weak.has(kind)) weak.set(kind, `contrast ${ratio.toFixed(1)}: ${name(element)}`);
}
faults.push(...[...weak.values()].slice(0, 8));

// -- pictures: enough pixels for a screen of twice the density --
for (const image of document.querySelectorAll(".bd-article img")) {
  if (/\.svg$|^data:/.test(image.src) || !isShown(image)) continue;
  const shown = image.getBoundingClientRect().width;
  // With a srcset the browser says the width of what it chose, divided by the density.
  const pixels = image.naturalWidth * (image.srcset ? window.devicePixelRatio : 1);
  if (!image.complete || !image.naturalWidth) faults.push(`not loaded: ${image.getAttribute("src")}`);
  else if (pixels < 1.4 * shown) faults.push(`blurred: ${image.getAttribute("src")}, ${pixels} pixels for ${Math.round(shown)}`);
}
return faults;
