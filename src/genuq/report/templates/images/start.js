// The page of scored images: the gallery alone.
startTheme();
startTerms();
startCopy();
startDetail();
sheetsReady.then(() => { startGallery(); document.documentElement.dataset.ready = "true"; });
