// Sends one message with nodemailer: node nodemailer_send.js < {"host", "port", "user", "password", "tls", "from", "to", ...}
// Prints what the server said; exits 1 with the error's text. Certificates are not checked: the servers are tests' own.
const nodemailer = require("nodemailer");
const message = JSON.parse(require("fs").readFileSync(0, "utf8"));
const transport = nodemailer.createTransport({
  host: message.host,
  port: message.port,
  secure: message.tls === "implicit",
  requireTLS: message.tls === "starttls",
  ignoreTLS: message.tls === "off",
  auth: message.user ? { user: message.user, pass: message.password } : undefined,
  tls: { rejectUnauthorized: false },
});
transport
  .sendMail({ from: message.from, to: message.to, subject: message.subject, text: message.text })
  .then((info) => console.log(info.response), (error) => { console.error(error.message); process.exit(1); });
