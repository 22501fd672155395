// MathJax's menu offers what other files would bring, and keeps a choice for all pages of a place. The
// book has no menu, and does not read what the menu of another page has kept.
window.MathJax.startup = {
  ready() {
    MathJax._.ui.menu.Menu.Menu.MENU_STORAGE = "MathJax-of-the-book";
    MathJax.startup.defaultReady();
  },
};
