// Starts the phone: the page's content security policy allows no inline script.
import start from './{{phone.js}}';

start({ module_or_path: new URL('./{{phone.wasm}}', import.meta.url) });
