// A service of Java's: echoes over TLS. Run by `java -D... EchoServer.java CHAIN KEY CA VERSION NEED`:
// PEM files; CA may be `-`: no certificate is asked for; VERSION may be `-`: all of them; NEED may be
// `optional`: a client may have no certificate.
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

public class EchoServer {
  private static final char[] PASSWORD = "of memory".toCharArray();

  private static Certificate[] chain(String file) throws Exception {
    try (InputStream in = Files.newInputStream(Path.of(file))) {
      return CertificateFactory.getInstance("X.509").generateCertificates(in)
          .toArray(new Certificate[0]);
    }
  }

  private static PrivateKey key(String file, String algorithm) throws Exception {
    String base64 = Files.readString(Path.of(file)).replaceAll("-----[A-Z ]+-----|\\s", "");
    return KeyFactory.getInstance(algorithm)
        .generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(base64)));
  }

  private static KeyStore store() throws Exception {
    KeyStore store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    return store;
  }

  private static void serve(SSLSocket socket) {
    try (socket) {
      byte[] buffer = new byte[65536];
      OutputStream out = socket.getOutputStream();
      for (int size; (size = socket.getInputStream().read(buffer)) > 0;) {
        out.write(buffer, 0, size);
      }
    } catch (Exception error) {
      System.err.println(error);
    }
  }

  public static void main(String[] args) throws Exception {
    KeyStore own = store();
    Certificate[] chain = chain(args[0]);
    own.setKeyEntry("own", key(args[1], chain[0].getPublicKey().getAlgorithm()), PASSWORD, chain);
    KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
    keys.init(own, PASSWORD);

    boolean asks = !args[2].equals("-");
    TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
    if (asks) {
      KeyStore anchors = store();
      anchors.setCertificateEntry("anchor", chain(args[2])[0]);
      trust.init(anchors);
    }

    SSLContext context = SSLContext.getInstance("TLS");
    context.init(keys.getKeyManagers(), asks ? trust.getTrustManagers() : null, null);
    SSLServerSocket listener = (SSLServerSocket) context.getServerSocketFactory()
        .createServerSocket(0, 50, InetAddress.getByName("127.0.0.1"));
    if (args[4].equals("optional")) {
      listener.setWantClientAuth(asks);
    } else {
      listener.setNeedClientAuth(asks);
    }
    if (!args[3].equals("-")) listener.setEnabledProtocols(new String[] {args[3]});
    System.out.println("listens on 127.0.0.1:" + listener.getLocalPort());
    while (true) {
      SSLSocket socket = (SSLSocket) listener.accept();
      new Thread(() -> serve(socket)).start();
    }
  }
}
