// The start page works without this; it makes the command copyable, and shows it for the port that
// this page came from.
const command = document.querySelector("#command");
const copy = document.querySelector("#copy");
const said = document.querySelector("#said");

command.textContent = command.textContent.replace("http://localhost:8787", location.origin);
copy.hidden = false;
copy.addEventListener("click", async () => {
  await navigator.clipboard.writeText(command.textContent);
  said.textContent = "Copied.";
  setTimeout(() => { said.textContent = "From a shell"; }, 2500);
});
