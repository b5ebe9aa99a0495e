// A service in JavaScript: echoes over TLS. node echo_server.js CHAIN KEY CA VERSION GROUP: PEM files;
// CA may be `-`: no certificate is asked for; VERSION and GROUP may be `-`: Node's own.
const tls = require('tls'), fs = require('fs');
const [chain, key, ca, version, group] = process.argv.slice(2);
const options = {cert: fs.readFileSync(chain), key: fs.readFileSync(key)};
if (ca !== '-') Object.assign(options, {ca: fs.readFileSync(ca), requestCert: true});
if (version !== '-') options.maxVersion = version;
if (group !== '-') options.ecdhCurve = group;
const server = tls.createServer(options, socket => {
  socket.on('error', error => console.error(error.code));
  socket.pipe(socket);
});
server.on('tlsClientError', error => console.error(error.code));
server.listen(0, '127.0.0.1', () => console.log(`listens on 127.0.0.1:${server.address().port}`));
