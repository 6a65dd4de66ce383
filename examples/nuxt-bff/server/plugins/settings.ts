/** Stops the start with one line when a setting is missing or unsafe. */
export default defineNitroPlugin(() => {
  try {
    useSettings();
  } catch (error) {
    console.error(`cannot start: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(78);
  }
});
