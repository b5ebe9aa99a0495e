// A service in JavaScript: echoes over TLS. node echo_server.js CHAIN KEY CA VERSION GROUP SESSIONS NEED:
// PEM files; CA may be `-`: no certificate is asked for; VERSION and GROUP may be `-`: Node's own;
// SESSIONS may be `none`; NEED may be `optional`: a client may have no certificate.
const tls = require('tls'), fs = require('fs'), {constants} = require('crypto');
const [chain, key, ca, version, group, sessions, need] = process.argv.slice(2);
const options = {cert: fs.readFileSync(chain), key: fs.readFileSync(key)};
if (ca !== '-') Object.assign(options, {ca: fs.readFileSync(ca), requestCert: true});
if (version !== '-') options.maxVersion = version;
if (group !== '-') options.ecdhCurve = group;
// Those that have no ticket are for the application to keep, and this one keeps none.
if (sessions === 'none') options.secureOptions = constants.SSL_OP_NO_TICKET;
if (need === 'optional') options.rejectUnauthorized = false;
const server = tls.createServer(options, socket => {
  socket.on('error', error => console.error(error.code));
  socket.pipe(socket);
});
server.on('tlsClientError', error => console.error(error.code));
server.listen(0, '127.0.0.1', () => console.log(`listens on 127.0.0.1:${server.address().port}`));
