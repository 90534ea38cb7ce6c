import { mount } from 'svelte';
import App from './components/App.svelte';
import { chooseLanguage } from './language';
import { access } from './state/access.svelte';
import { app } from './state/app.svelte';
import './styles.css';
import './markdown/markdown.css';

const target = document.getElementById('app');
if (target === null) throw new Error('The page has no #app.');
await chooseLanguage(navigator.languages);
access.start();
app.start();
mount(App, { target });
