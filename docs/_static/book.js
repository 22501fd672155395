/* What scrolls sideways can be reached by the keyboard: what is wider than the page. */
const PARTS = "pre, .table-wrapper, .math-wrapper, .cell_output > .output";

function markScrolling() {
  for (const box of document.querySelectorAll(PARTS)) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

/* A picture is a link to itself, to be seen larger. */
function linkPictures() {
  for (const picture of document.querySelectorAll("article img:not(a img, .sheaf-explorer img)")) {
    const link = document.createElement("a");
    link.href = picture.src;
    picture.replaceWith(link);
    link.append(picture);
  }
}

linkPictures();
markScrolling();
window.addEventListener("resize", markScrolling);
window.addEventListener("load", () => window.MathJax?.startup?.promise?.then(markScrolling));
